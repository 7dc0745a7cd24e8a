"""Whether the service lives, and whether it can answer."""

from portrait.api.operation import Answer, Call, Operation
from portrait.api.schemas import component
from portrait.model import errors
from portrait.storage.contract import Store

_OK = component(
    "Health",
    {"type": "object", "properties": {"status": {"type": "string", "const": "ok"}}, "required": ["status"]},
)


class Health:
    """Answers the probes of whoever runs the service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """Return the operations' declarations."""
        return [
            Operation(
                id="live", method="GET", path="/health/live", summary="Tell that the process runs", tag="health",
                handler=self.live, public=True, success=200, answer=_OK, example={"status": "ok"},
            ),
            Operation(
                id="ready", method="GET", path="/health/ready", summary="Tell whether the database answers",
                tag="health", handler=self.ready, public=True, success=200, answer=_OK, example={"status": "ok"},
                fails=(errors.StorageFailed,),
            ),
        ]  # fmt: skip

    async def live(self, call: Call) -> Answer:
        """Answer: that says that the process runs."""
        del call
        return Answer(200, b'{"status":"ok"}', {"content-type": "application/json"})

    async def ready(self, call: Call) -> Answer:
        """Answer once the database has answered."""
        await self._store.ready()
        return await self.live(call)
