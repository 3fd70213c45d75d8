"""Fails when a tracked file holds something that looks like a secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

PLUGINS = [
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "JwtTokenDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "SendGridDetector",
    "SlackDetector",
    "StripeDetector",
    "TwilioKeyDetector",
]
"""Detectors of known shapes. Entropy detectors are left out: the locks are made of hashes."""


def tracked(root: Path) -> list[str]:
    """The files git knows or would add, as paths below the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return [name for name in listing.stdout.splitlines() if (root / name).is_file()]


def main() -> int:
    """Prints each finding as file:line and its kind; returns 1 when there is one."""
    root = Path(__file__).resolve().parent.parent
    found = SecretsCollection(root=str(root))
    with transient_settings({"plugins_used": [{"name": name} for name in PLUGINS]}):
        files = [name for name in tracked(root) if not name.startswith("requirements/")]
        for name in files:
            found.scan_file(name)
    for name, secret in found:
        print(f"{name}:{secret.line_number}: {secret.type}", file=sys.stderr)
    print(f"secret scan: {len(files)} files, {sum(1 for _ in found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
