"""A tenant's rules for what clients of other makers send."""

import msgspec

from portrait.access.service import READ
from portrait.api.identity import ADMIN
from portrait.api.operation import Answer, Body, Call, Operation, json_answer
from portrait.collecting.collector import Collector
from portrait.collecting.rules import DEFAULT, CollectingRules
from portrait.model import errors


class CollectingRulesResource:
    """Answers the routes of rules for collecting."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def show(self, call: Call) -> Answer:
        """Show the tenant's rules."""
        return json_answer(await self._collector.rules(call.tenant.id))

    async def set(self, call: Call) -> Answer:
        """Set the tenant's rules."""
        call.media_type("application/json")
        return json_answer(await self._collector.set_rules(call.tenant.id, await call.body()))

    def operations(self) -> tuple[Operation, ...]:
        """Return the routes' declarations."""
        example = msgspec.to_builtins(DEFAULT)
        path, tag = "/api/v1/collecting/rules", "collecting"
        return (
            Operation(
                id="get_collecting_rules", method="GET", path=path, tag=tag, handler=self.show, roles=READ,
                summary="Show the tenant's rules for what clients send", success=200, answer=CollectingRules,
                example=example,
            ),
            Operation(
                id="set_collecting_rules", method="PUT", path=path, tag=tag, handler=self.set, roles=ADMIN,
                summary="Set the tenant's rules for what clients send", success=200, answer=CollectingRules,
                example=example, description="Rules that are left out have their defaults. What was recorded stays as"
                " it was; refused events can be replayed.",
                body=Body(
                    {"application/json": {"$type": CollectingRules}},
                    {"application/json": {"offerProperties": ["promotion_id"], "keep": ["query"]}},
                ),
                fails=(
                    errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow,
                    errors.InvalidRules,
                ),
            ),
        )  # fmt: skip
