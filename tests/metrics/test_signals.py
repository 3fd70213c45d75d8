"""From pages to signals: real formats, new starts, gaps, clocks that jump, names that are missing."""

from __future__ import annotations

import random

import pytest

from backend_client.scraping import catalog
from backend_client.scraping import types as names
from backend_client.scraping.exposition import Reader
from backend_client.scraping.plan import MOST_GROUPS
from backend_client.scraping.signals import Measured, Signals
from backend_client.scraping.types import TargetKind
from tests.metrics.pages import MODELS, SAMPLES, VllmPage

ENGINE = {"model_name": MODELS[0], "engine": "0"}


class Looks:
    """Looks at a target whose pages a test writes, a second apart."""

    def __init__(self, kind: TargetKind, **options: float) -> None:
        self.reader, self.signals = Reader(catalog.names(kind)), Signals(kind, **options)
        self.at = self.tick = 0.0

    def see(self, page: str | bytes, *, after: float = 1.0, jump: float = 0.0) -> Measured:
        self.tick += after
        self.at += after + jump
        body = page.encode() if isinstance(page, str) else page
        return self.signals.read(self.reader.read_now(body), at=self.at, tick=self.tick)


def sample(kind: str) -> bytes:
    return (SAMPLES / f"{kind}.prom").read_bytes()


@pytest.mark.parametrize("kind", ["vllm", "dcgm", "llamacpp", "node"])
def test_a_page_tells_whose_it_is(kind: TargetKind) -> None:
    found = Reader().read_now(sample(kind))
    assert catalog.kind_of(found.layout.places) == kind


def test_vllm() -> None:
    looks, page, dice = Looks("vllm"), VllmPage(MODELS, 2), random.Random(5)  # noqa: S311
    page.work(dice)
    first = looks.see(page.text())
    assert names.GENERATION_RATE not in first.values and not first.quantiles, "rates need two looks"
    before = page.registry.get_sample_value("vllm:generation_tokens_total", ENGINE)
    page.work(dice)
    found = looks.see(page.text(), after=2.0)
    after = page.registry.get_sample_value("vllm:generation_tokens_total", ENGINE)
    assert before is not None and after is not None
    engine, model = found.by["engine"]["0"], found.by["model"][MODELS[0]]
    assert 0 < (after - before) / 2.0 <= engine[names.GENERATION_RATE] <= found.values[names.GENERATION_RATE]
    assert found.values[names.PROMPT_RATE] == pytest.approx(3 * found.values[names.GENERATION_RATE])
    assert found.values[names.PREFIX_HITS] == pytest.approx(1 / 3)
    assert found.values[names.REQUEST_RATE] == 4 * 3 / 2.0
    assert model[names.REQUEST_RATE] == 2 * 3 / 2.0
    assert found.quantiles[names.FIRST_TOKEN].count == 12
    assert found.quantiles_by["model"][MODELS[1]][names.END_TO_END].count == 6
    parts = [found.by["model"][name][names.RUNNING] for name in MODELS]
    assert sum(parts) == found.values[names.RUNNING]


def test_dcgm_on_a_superchip() -> None:
    found = Looks("dcgm").see(sample("dcgm"))
    first, second = found.by["gpu"]["0"], found.by["gpu"]["1"]
    assert first[names.GPU_BUSY] == 0.97 and second[names.GPU_BUSY] == 0.0
    assert first[names.GPU_MEMORY] == 85893 * 2**20
    assert first[names.GPU_MEMORY_TOTAL] == (11482 + 85893 + 496) * 2**20
    assert first[names.GPU_MODULE_POWER] == 748.2
    assert names.GPU_MODULE_POWER not in second, "a blank is nothing, not 9223372036854775794"
    assert names.GPU_C2C_SENT not in second
    assert found.values[names.GPU_POWER] == pytest.approx(612.384 + 92.71)
    assert found.values[names.GPU_TEMPERATURE] == 53.0
    assert found.notes == ("3 values are blank.",)


def test_llamacpp() -> None:
    looks, page = Looks("llamacpp"), sample("llamacpp").decode()
    assert looks.see(page).values == {names.RUNNING: 0.0, names.WAITING: 0.0}
    more = page.replace("tokens_predicted_total 10", "tokens_predicted_total 50").replace(
        "prompt_tokens_cached_total 0", "prompt_tokens_cached_total 30"
    )
    found = looks.see(more.replace("prompt_tokens_total 31", "prompt_tokens_total 41"))
    assert found.values[names.GENERATION_RATE] == 40.0
    assert found.values[names.PREFIX_HITS] == 0.75


def test_node() -> None:
    looks, page = Looks("node"), sample("node").decode()
    first = looks.see(page)
    assert 0 < first.values[names.MEMORY] < first.values[names.MEMORY_TOTAL]
    assert names.CPU_BUSY not in first.values
    cpu = 'node_cpu_seconds_total{cpu="%d",mode="%s"} %d\n'
    grown = {"idle": 3, "iowait": 0, "user": 1}
    idle = [cpu % (core, mode, 10) for core in (0, 1) for mode in grown]
    busy = [cpu % (core, mode, 10 + more) for core in (0, 1) for mode, more in grown.items()]
    other = Looks("node")
    other.see("".join(idle))
    assert other.see("".join(busy)).values[names.CPU_BUSY] == 0.25


def test_the_gateway() -> None:
    looks = Looks("gateway")
    page = (
        'sophia_requests_total{provider="box",model="m",outcome="complete"} %d\n'
        'sophia_requests_total{provider="box",model="m",outcome="error"} %d\n'
        'sophia_tokens_total{direction="completion"} %d\nmcp_gpu_utilization{gpu="0"} 0.5\n'
    )
    looks.see(page % (1, 1, 10))
    found = looks.see(page % (4, 2, 110))
    assert found.values[names.REQUEST_RATE] == 4.0 and found.values[names.ERROR_RATE] == 1.0
    assert found.values[names.GENERATION_RATE] == 100.0 and found.values[names.GPU_BUSY] == 0.5
    assert found.by["model"]["m"][names.ERROR_RATE] == 1.0


def test_an_older_name_will_do() -> None:
    found = Looks("vllm").see("vllm:gpu_cache_usage_perc 0.25\n")
    assert found.values == {names.KV_CACHE: 0.25}


def test_of_an_unknown_kind_everything_known_is_told() -> None:
    found = Looks("other").see("vllm:num_requests_running 3\nDCGM_FI_DEV_GPU_TEMP 40\nnode_load1 1\nfoo 2\n")
    assert found.values == {names.RUNNING: 3.0, names.GPU_TEMPERATURE: 40.0, names.LOAD: 1.0}


def test_names_that_are_missing_are_no_signal() -> None:
    assert Looks("vllm").see("foo 1\n") == Measured()
    assert Looks("vllm").see("") == Measured()


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300", "9223372036854775794"])
def test_numbers_that_cannot_be_are_left_out(value: str) -> None:
    looks = Looks("vllm")
    for _ in range(2):
        found = looks.see(f"vllm:num_requests_running {value}\nvllm:prompt_tokens_total {value}\n")
        assert names.RUNNING not in found.values
        assert found.values.get(names.PROMPT_RATE, 0.0) == 0.0


TOKENS = "vllm:generation_tokens_total %d\n"


def test_a_server_that_was_started_anew() -> None:
    looks = Looks("vllm")
    looks.see(TOKENS % 1000)
    assert looks.see(TOKENS % 30).values[names.GENERATION_RATE] == 30.0, "never negative"


@pytest.mark.parametrize(("after", "jump"), [(61.0, 0.0), (1.0, 3600.0), (1.0, -3600.0), (0.0, 0.0), (2.0, 30.0)])
def test_over_a_gap_or_a_jump_nothing_is_reckoned(after: float, jump: float) -> None:
    looks = Looks("vllm")
    looks.see(TOKENS % 10)
    assert looks.see(TOKENS % 20).values[names.GENERATION_RATE] == 10.0
    assert names.GENERATION_RATE not in looks.see(TOKENS % 5000, after=after, jump=jump).values
    assert looks.see(TOKENS % 5020).values[names.GENERATION_RATE] == 20.0


HISTOGRAM = """\
vllm:time_to_first_token_seconds_bucket{{le="0.1"}} {0}
vllm:time_to_first_token_seconds_bucket{{le="1.0"}} {1}
vllm:time_to_first_token_seconds_bucket{{le="+Inf"}} {1}
vllm:time_to_first_token_seconds_sum {2}
vllm:time_to_first_token_seconds_count {1}
"""


def test_quantiles_are_of_the_window() -> None:
    looks = Looks("vllm", window_s=10.0)
    looks.see(HISTOGRAM.format(1000, 1000, 50))
    for more in range(1, 6):
        slow = looks.see(HISTOGRAM.format(1000, 1000 + more, 50 + more)).quantiles[names.FIRST_TOKEN]
    assert slow.count == 5 and slow.p50 is not None and slow.p50 > 0.5 and slow.mean == 1.0
    for _ in range(11):
        idle = looks.see(HISTOGRAM.format(1000, 1005, 55)).quantiles[names.FIRST_TOKEN]
    assert idle.count == 0 and idle.p50 is None and idle.mean is None, "what was slow is long past"


def test_quantiles_after_a_new_start_and_with_other_bounds() -> None:
    looks = Looks("vllm")
    looks.see(HISTOGRAM.format(50, 100, 10))
    anew = looks.see(HISTOGRAM.format(3, 4, 1)).quantiles[names.FIRST_TOKEN]
    assert anew.count == 4
    other = HISTOGRAM.replace('le="1.0"', 'le="2.0"')
    changed = looks.see(other.format(4, 6, 2)).quantiles[names.FIRST_TOKEN]
    assert changed.count == 2, "what both layouts know"
    assert looks.see(other.format(4, 8, 2)).quantiles[names.FIRST_TOKEN].count >= 2


def test_a_bomb_of_labels_is_told_together() -> None:
    page = "".join(f'vllm:num_requests_running{{model_name="m{n}"}} 1\n' for n in range(MOST_GROUPS + 40))
    found = Looks("vllm").see(page)
    assert found.values[names.RUNNING] == MOST_GROUPS + 40
    assert len(found.by["model"]) == MOST_GROUPS
    assert "Not every model is told apart" in found.notes[0]
