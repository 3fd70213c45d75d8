"""The settings of the costs: what a machine costs by the hour, and how much may be spent on what."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sophia_core.setting_kinds import Section

Hourly = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]


class BudgetSettings(Section):
    """So much may be spent on something in a day, a week or a month."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,39}$", description="What it is called.")
    scope: Literal["all", "provider", "persona", "tag", "folder"] = Field(
        "all", description="What counts: everything, or one provider, persona, tag or folder of sessions."
    )
    of: str = Field("", max_length=200, description="Which provider, persona, tag or folder.")
    period: Literal["day", "week", "month"] = Field("month", description="Begins with the day, Monday, or the first.")
    usd: float = Field(gt=0, le=1e9, allow_inf_nan=False, description="How much may be spent in it, in US dollars.")
    hard_stop: bool = Field(False, description="Ask nobody who costs money any more once it is spent.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.scope == "all") == bool(self.of):
            raise ValueError("`of` names a provider, persona, tag or folder; a budget for all has none")
        return self


class CostSettings(Section):
    """What answers cost, and how much may be spent: counted in the encrypted store, sent nowhere."""

    hourly_usd: dict[str, Hourly] = Field(
        {}, description="What the machine of a provider costs an hour, used or not: `gh200 = 3.2`."
    )
    price_table: bool = Field(True, description="Use the shipped list of prices where nobody tells what a model costs.")
    budgets: tuple[BudgetSettings, ...] = Field((), description="One `[[costs.budgets]]` each.")
