"""What this version makes of a database that an earlier one wrote, foreseen: nothing is written."""

from collections.abc import Collection, Iterable, Mapping

from portrait.maintenance.component import Component
from portrait.maintenance.repair import Repair
from portrait.maintenance.report import CustomerChange, Outlook, Report, When
from portrait.maintenance.walk import Progress, Walk
from portrait.model.document import HEAD, Document, Head, known_head
from portrait.model.identifier import CUSTOMER_ID, Identifier, is_generated
from portrait.storage.contract import Changes, Reads, Store
from portrait.storage.migrations import pending_revisions
from portrait.storage.preview import preview

Documents = dict[tuple[str, str], Document | None]
"""By customer id and section, heads among them; None: there is none."""


class Foresight:
    """Runs a rebuild, and new decisions, without a write, and tells which customers they change.

    Args:
        store: the database.
        walk: goes over its identifiers.
        repair: what a rebuild does, and how is decided.
    """

    def __init__(self, store: Store, walk: Walk, repair: Repair) -> None:
        self._store = store
        self._walk = walk
        self._repair = repair

    async def outlook(self, progress: Progress | None = None) -> tuple[Outlook, Report]:
        """Return which customers are otherwise, from when on; and what a check finds.

        A service may go on serving: each customer is judged as it stands at one moment.
        """
        revision = await self._store.revision()
        outlook, report = Outlook(revision, pending_revisions(revision)), Report(faults=await self._store.faults())

        async def foresee(tenant: str, identifiers: list[Identifier]) -> None:
            async with self._store.snapshot() as reads:
                report.add(await self._foresee(reads, tenant, identifiers, outlook))

        await self._walk.each(foresee, progress)
        return outlook, report

    async def _foresee(self, reads: Reads, tenant: str, identifiers: list[Identifier], outlook: Outlook) -> Report:
        noted: list[Changes] = []
        tx = preview(reads, noted.append)
        repaired = await self._repair.chunk(tx, tenant, identifiers)
        overtaken: Documents = {}
        renewed: Documents = {}
        for component in repaired.components:
            overtaken |= component.overtaken
            renewed |= component.renewed
        await self._note(reads, tenant, outlook, When.READ, {}, renewed)
        rebuilt = _documents(noted)
        await self._note(reads, tenant, outlook, When.REBUILD, overtaken, rebuilt)
        for component in repaired.components:
            noted.clear()
            await self._decide(reads, tenant, component, noted)
            await self._note(reads, tenant, outlook, When.DECISION, overtaken | rebuilt, _documents(noted))
        return repaired.report

    async def _decide(self, reads: Reads, tenant: str, component: Component, noted: list[Changes]) -> None:
        """Note what deciding anew on a set of identifiers changes."""
        if component.is_claimed and component.owners:
            ends = {identifier for pair in component.pairs for identifier in pair}
            identifiers = component.owners.keys() | ends
            await self._repair.decide(preview(reads, noted.append), tenant, identifiers, component.pairs)

    @staticmethod
    async def _note(
        reads: Reads, tenant: str, outlook: Outlook, when: When, earlier: Mapping[tuple[str, str], Document | None],
        later: Documents,
    ) -> None:  # fmt: skip
        """Take in how customers are otherwise by some documents than by those before, or else by those stored."""
        names = {customer_id for customer_id, _ in later}
        before: Documents = {
            (customer_id, document.section): document
            for customer_id, documents in (await reads.all_documents(tenant, names)).items()
            for document in documents
        }
        before |= {key: document for key, document in earlier.items() if key[0] in names}
        for customer_id in sorted(names):
            change = _change(customer_id, before, before | later)
            if change is not None:
                outlook.note(tenant, when, customer_id, change)


def _documents(noted: Iterable[Changes]) -> Documents:
    """Return the documents that some changes make, the later ones after the earlier."""
    documents: Documents = {}
    for changes in noted:
        documents |= changes.documents
    return documents


def _change(customer_id: str, before: Documents, after: Documents) -> CustomerChange | None:
    """Return what is otherwise of a customer; None: nothing is, or nobody knows its id, which is made at random."""
    heads = _head(customer_id, before), _head(customer_id, after)
    if heads[0] is None and is_generated(customer_id):
        return None
    owners = [_owner(customer_id, head) for head in heads]
    if owners[0] != owners[1]:
        return CustomerChange(is_regrouped=True, owner=owners[1])
    if heads[1] is not None and heads[1].merged_into is not None:
        return None
    members = [_known(head.identifiers(customer_id)) if head else set() for head in heads]
    change = CustomerChange(
        tuple(sorted(name for id_, name in after if id_ == customer_id and _is_otherwise((id_, name), before, after))),
        _types(members[1] - members[0]),
        _types(members[0] - members[1]),
    )
    return change if any(change) else None


def _head(customer_id: str, documents: Documents) -> Head | None:
    document = documents.get((customer_id, HEAD))
    return None if document is None else known_head(document.body)


def _owner(customer_id: str, head: Head | None) -> str | None:
    """Return the customer id that answers for another; None: nobody does."""
    return None if head is None else head.merged_into or customer_id


def _known(identifiers: Iterable[Identifier]) -> set[Identifier]:
    """Return the identifiers that somebody gave: a customer id that is made at random comes and goes unseen."""
    return {
        identifier for identifier in identifiers if identifier.type != CUSTOMER_ID or not is_generated(identifier.value)
    }


def _types(identifiers: Collection[Identifier]) -> tuple[str, ...]:
    return tuple(sorted(identifier.type for identifier in identifiers))


def _is_otherwise(key: tuple[str, str], before: Documents, after: Documents) -> bool:
    """Tell whether a section shows other records; one without records is as good as none."""
    bodies = [document.body if document else b"[]" for document in (before.get(key), after.get(key))]
    return key[1] != HEAD and bodies[0] != bodies[1]
