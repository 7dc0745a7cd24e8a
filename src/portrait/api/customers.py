"""`GET /api/v1/customers`: who is known."""

from typing import Annotated

import msgspec

from portrait.access.service import READ
from portrait.api import pages
from portrait.api.operation import Answer, Call, Moment, Operation, json_answer
from portrait.model import errors
from portrait.model.document import Head
from portrait.model.time import rfc3339
from portrait.reads.lists import Lists


class Customer(msgspec.Struct, rename="camel"):
    """One customer that the tenant knows."""

    customer_id: Annotated[str, msgspec.Meta(examples=["CUST001"])]
    created_at: Moment
    """When the first record was recorded."""
    updated_at: Moment
    """When the newest record was recorded."""


class Customers:
    """Answers the list of customers."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists

    def operations(self) -> list[Operation]:
        """Return the operation's declaration."""
        return [
            Operation(
                id="list_customers",
                method="GET",
                path="/api/v1/customers",
                summary="List the tenant's customers, by id",
                tag="customers",
                handler=self.list,
                roles=READ,
                success=200,
                answer=pages.Page[Customer],
                example={
                    "data": [
                        {
                            "customerId": "CUST001",
                            "createdAt": "2026-01-15T00:00:02Z",
                            "updatedAt": "2026-03-28T10:30:02Z",
                        }
                    ],
                    "pagination": {"cursor": None, "hasMore": False},
                },
                parameters=pages.PARAMETERS,
                fails=(errors.InvalidParameter,),
            )
        ]

    async def list(self, call: Call) -> Answer:
        """List customers."""
        some = await self._lists.customers(call.tenant.id, pages.position(call, str), call.limit())
        return json_answer(pages.part(some, _customer, lambda row: row[0]))


def _customer(item: tuple[str, Head]) -> Customer:
    customer_id, head = item
    return Customer(customer_id, rfc3339(head.created_at), rfc3339(head.updated_at))
