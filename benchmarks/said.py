"""Things people say to an assistant, and how they look for them weeks later: in other words."""

from __future__ import annotations

SAID = (
    ("My containers cannot resolve host names; the bridge network has no DNS.", "docker networking problem"),
    ("Feed the sourdough starter the evening before and bake at 230 degrees.", "recipe for a loaf"),
    ("Lisbon is mild in April, the trams are fun and pastéis cost a euro.", "where to travel in spring"),
    ("The worker never evicts its cache, so the process grows until it is killed.", "memory leak"),
    ("Use a partial index on the status column; the full one is hardly selective.", "make the SQL query faster"),
    ("I would write: Dear Ms Rossi, thank you for the interview on Monday.", "job application letter"),
    ("The child slept badly because of teething; a cold ring helps.", "baby cries at night"),
    ("Bend your knees, keep the back straight and lift with the legs.", "avoid hurting my spine when carrying"),
    ("rsync -a --delete copies the tree and removes what is gone at the source.", "mirror a directory to a server"),
    ("git rebase --onto main feature~3 moves the last three commits.", "transplant some changes to another branch"),
    ("Interest compounds monthly, so 5 % nominal are 5.12 % effective.", "how much does my savings account yield"),
    ("A monoid is a set with an associative operation and a neutral element.", "abstract algebra definition"),
    ("Set vm.swappiness to 10 and the desktop stops freezing.", "computer becomes slow when RAM is full"),
    ("Photosynthesis turns light, water and carbon dioxide into sugar.", "how do plants make energy"),
    ("The lease ends on the thirtieth; give notice in writing three months before.", "moving out of my flat"),
    ("Use asyncio.TaskGroup: it cancels the others when one fails.", "several coroutines at once in Python"),
    (
        "The capital gains are taxed at a flat quarter plus a surcharge.",
        "what do I owe the state for my shares",
    ),
    ("A minor seventh chord wants to fall to the chord a fifth below.", "music theory harmony"),
    ("Water the orchid once a week by dipping the pot for ten minutes.", "keep a houseplant alive"),
    ("torch.cuda.empty_cache does not help when tensors are still referenced.", "GPU out of memory"),
)
"""(what was said, what somebody asks later)."""
