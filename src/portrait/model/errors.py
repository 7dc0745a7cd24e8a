"""The one error tree. Everything that Portrait refuses or fails at, on purpose, is one of these.

PortraitError
├── InvalidRequest          the request itself is wrong, whoever sends it
│   ├── MalformedRequest      not HTTP, or HTTP that the service does not speak
│   ├── HeadTooLarge          a head with too many bytes or fields
│   ├── TargetTooLong         a head with too many bytes, most of them the target's
│   ├── HeadTooSlow           a head that did not arrive whole in time
│   ├── MalformedJson         not JSON, or JSON that no store can keep
│   ├── InvalidParameter      a path, query or header value that breaks its rule
│   ├── UnknownSection        a section name that is not registered
│   ├── TenantRequired        no tenant named, and the credential is bound to none
│   ├── UnsupportedMediaType  a body in a format that the operation does not take
│   ├── BodyTooLarge          a body over the operation's limit
│   ├── BodyTooSlow           a body that stopped arriving
│   ├── InvalidRecord         a record that breaks its section's schema
│   ├── TooManyKeys           a customer's section would pass its limit of live keys
│   ├── SectionTooLarge       a customer's section would pass its limit of rendered bytes
│   ├── AnswerTooLarge        an answer that would pass its limit of bytes
│   ├── UnknownIdentifierType a type of identifier that is neither built in nor the tenant's own
│   ├── BlockedIdentifier     an identifier whose value is a placeholder or blocked
│   ├── SelfLink              an identifier or a customer is to be joined with itself
│   ├── InvalidRules          identity rules that break their schema or contradict each other
│   └── NotSupported          well formed, but not supported
├── AccessDenied            the caller may not do this
│   ├── Unauthenticated       no credential, or a wrong, expired or revoked one
│   ├── TenantForbidden       a tenant that is unknown or not the credential's
│   ├── HostForbidden         a Host header that is not a name of this machine, under `--auth open`
│   ├── OriginForbidden       a write key that is not for pages of this origin
│   ├── RoleForbidden         the role may not call this operation
│   └── SectionForbidden      the role may not read or write this section
├── NotFound                the resource does not exist, or not for this tenant
│   ├── RouteNotFound         no operation has this path
│   ├── CustomerNotFound      an unknown customer
│   ├── IdentifierNotFound    an identifier that belongs to no customer
│   ├── RecordNotFound        no live record under this key
│   └── KeyNotFound           no API key with this id
├── MethodNotAllowed        the path exists, the method does not
├── Conflict                the request contradicts what is stored
│   ├── EventConflict         an event's key was used before for another body
│   ├── LinkRefused           a rule of the tenant's refuses to join two identifiers
│   ├── NotMerged             two that are not one person, or no link between the two waits for review
│   ├── StillMerged           two that are to be kept apart and are one person
│   └── TenantExists          the tenant's id is taken
├── Unavailable             the service cannot do it now; trying again later may work
│   ├── TooManyEvents         more events with a write key than it takes
│   ├── Overloaded            more requests at once than the service can answer in time
│   ├── StorageBusy           the database is locked by another writer for too long
│   ├── StorageFull           the database has no room to write
│   ├── StorageFailed         the database reports an error of its own
│   ├── TooManyConnections    the process has reached its limit of connections
│   └── ShuttingDown          the service is stopping
├── SectionFailed           a section's own code, a plugin's, raised an error
├── SourceFailed            a declared source cannot be reached, or answers what cannot be shown
├── Defect                  the service failed, by a defect of its own
└── StartRefused            the service or a command cannot start: says what is wrong and what to do
    ├── InvalidSetting        a setting breaks its rule
    ├── DatabaseRefused       a database that is locked, read-only, corrupt, too new, or none at all
    ├── PluginRefused         a plugin that does not import, or whose declaration is invalid
    ├── SourceRefused         a file of declared sources that cannot be read, or declares what cannot be
    ├── InputRefused          a file that cannot be loaded or matched: of another format, unreadable, without ids
    │   └── TableBroken         a file or a query of which no further row can be read
    └── InvalidMapping        a mapping that breaks its form, or does not fit the sections or the table

`code` is stable and part of the contract; `detail` is for people and may change. Neither ever repeats a value from
the request: field names, positions and rules only.
"""

from typing import ClassVar, Self


class PortraitError(Exception):
    """Anything that Portrait refuses or fails at on purpose; `detail` says what is wrong and what would be right."""

    code: ClassVar[str] = "error"
    reason: str | None = None
    """Which of several causes it was, for programs; None where the code says all."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def of_record(self, index: int) -> Self:
        """Return the same error, saying which record of several it is about, from 0."""
        return type(self)(f"Record {index}, counted from 0: {self.detail}")


class InvalidRequest(PortraitError):
    """The request itself is wrong, whoever sends it."""

    code = "invalid_request"


class MalformedRequest(InvalidRequest):
    """Not HTTP/1.1, or a head or a body whose form breaks it: what follows on the connection is not read."""

    code = "malformed_request"


class HeadTooLarge(InvalidRequest):
    """A head, or what comes behind a body, with too many bytes or too many header fields."""

    code = "head_too_large"


class TargetTooLong(InvalidRequest):
    """A head with too many bytes, most of them the target's: its path and query."""

    code = "target_too_long"


class HeadTooSlow(InvalidRequest):
    """A head that did not arrive whole in time."""

    code = "head_too_slow"


class MalformedJson(InvalidRequest):
    """Not JSON, JSON that no store can keep (NUL, integers beyond 64 bit, depth beyond 64), or a key given twice."""

    code = "malformed_json"


class InvalidParameter(InvalidRequest):
    """A path, query or header value that breaks its rule."""

    code = "invalid_parameter"


class UnknownSection(InvalidRequest):
    """A section name that is not registered."""

    code = "unknown_section"


class TenantRequired(InvalidRequest):
    """No tenant named, and the credential is bound to none."""

    code = "tenant_required"


class UnsupportedMediaType(InvalidRequest):
    """A body in a format that the operation does not take."""

    code = "unsupported_media_type"


class BodyTooLarge(InvalidRequest):
    """A body over the operation's limit."""

    code = "body_too_large"


class BodyTooSlow(InvalidRequest):
    """A body that stopped arriving before its end."""

    code = "body_too_slow"


class InvalidRecord(InvalidRequest):
    """A record that breaks its section's schema."""

    code = "invalid_record"


class TooManyKeys(InvalidRequest):
    """A customer's section would pass its limit of live keys."""

    code = "too_many_keys"


class SectionTooLarge(InvalidRequest):
    """A customer's section would pass its limit of rendered bytes."""

    code = "section_too_large"


class AnswerTooLarge(InvalidRequest):
    """An answer that would pass its limit of bytes: request less at a time."""

    code = "answer_too_large"


class UnknownIdentifierType(InvalidRequest):
    """A type of identifier that is neither built in nor the tenant's own."""

    code = "unknown_identifier_type"


class BlockedIdentifier(InvalidRequest):
    """An identifier whose value is a placeholder or blocked."""

    code = "blocked_identifier"


class SelfLink(InvalidRequest):
    """An identifier or a customer is to be joined with itself."""

    code = "self_link"


class InvalidRules(InvalidRequest):
    """Identity rules that break their schema or contradict each other."""

    code = "invalid_rules"


class NotSupported(InvalidRequest):
    """The request is well formed, but Portrait does not support it."""

    code = "not_supported"


class AccessDenied(PortraitError):
    """The caller may not do this."""

    code = "access_denied"


class Unauthenticated(AccessDenied):
    """No credential, or a wrong, expired or revoked one."""

    code = "unauthenticated"


class TenantForbidden(AccessDenied):
    """A tenant that is unknown or not the credential's: one answer for both, so that no caller learns which."""

    code = "tenant_forbidden"

    def __init__(self) -> None:
        super().__init__("This credential gives no access to the tenant named in X-Tenant-Id.")


class HostForbidden(AccessDenied):
    """A Host header that is not a name of this machine, under `--auth open`: a foreign web page may be calling."""

    code = "host_forbidden"


class OriginForbidden(AccessDenied):
    """A write key that is not for web pages of this origin."""

    code = "origin_forbidden"


class RoleForbidden(AccessDenied):
    """The role may not call this operation; the detail names the role and those that may."""

    code = "role_forbidden"


class SectionForbidden(AccessDenied):
    """The role may not read or write this section; the detail names the role and those that may."""

    code = "section_forbidden"


class NotFound(PortraitError):
    """The resource does not exist, or not for this tenant."""

    code = "not_found"


class RouteNotFound(NotFound):
    """No operation has this path; the detail names the valid next parts."""

    code = "route_not_found"


class CustomerNotFound(NotFound):
    """An unknown customer; another tenant's customer is answered the same."""

    code = "customer_not_found"

    def __init__(self) -> None:
        super().__init__(
            "This tenant has no customer with this id. The first record creates a customer. To read a profile by"
            " another identifier, such as an e-mail address, use POST /api/v1/unified-profile."
        )


class IdentifierNotFound(NotFound):
    """An identifier that belongs to no customer of this tenant."""

    code = "identifier_not_found"

    def __init__(self) -> None:
        super().__init__("This identifier belongs to no customer of this tenant. Its first record creates a customer.")


class RecordNotFound(NotFound):
    """No live record under this key."""

    code = "record_not_found"


class KeyNotFound(NotFound):
    """No API key with this id."""

    code = "key_not_found"


class MethodNotAllowed(PortraitError):
    """The path exists, the method does not; `allowed` names those that do."""

    code = "method_not_allowed"

    def __init__(self, detail: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allowed = allowed


class Conflict(PortraitError):
    """The request contradicts what is stored."""

    code = "conflict"


class EventConflict(Conflict):
    """An event's key was used before for another body: events are immutable."""

    code = "event_conflict"


class LinkRefused(Conflict):
    """A rule of the tenant's refuses to join two identifiers; `reason` says which, for programs."""

    code = "link_refused"

    def __init__(self, detail: str, *, reason: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason

    def of_record(self, index: int) -> Self:
        """See the base class."""
        return type(self)(f"Record {index}, counted from 0: {self.detail}", reason=self.reason)


class NotMerged(Conflict):
    """The two are not one person, or no link between them waits for review: there is nothing to decide on."""

    code = "not_merged"


class StillMerged(Conflict):
    """The two are one person: they can be kept apart only when they are parted."""

    code = "still_merged"


class TenantExists(Conflict):
    """The tenant's id is taken."""

    code = "tenant_exists"


class Unavailable(PortraitError):
    """The service cannot do it now; trying again after `retry_after` seconds may work."""

    code = "unavailable"
    retry_after: int = 1


class TooManyEvents(Unavailable):
    """More events with a write key than it takes; nothing of the request was done."""

    code = "too_many_events"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """The service is overloaded; nothing of the request was done."""

    code = "overloaded"


class StorageBusy(Unavailable):
    """The database is locked by another writer for too long."""

    code = "storage_busy"


class StorageFull(Unavailable):
    """The database has no room to write; nothing of the request was kept."""

    code = "storage_full"
    retry_after = 30


class StorageFailed(Unavailable):
    """The database reports an error of its own; where its connection was lost, sending again settles what was kept."""

    code = "storage_failed"
    retry_after = 5


class TooManyConnections(Unavailable):
    """The process has reached its limit of connections."""

    code = "too_many_connections"


class ShuttingDown(Unavailable):
    """The service is stopping and takes no more writes."""

    code = "shutting_down"


class SectionFailed(PortraitError):
    """A section's own code, a plugin's, raised an error; what it raised is in the log, never in the detail."""

    code = "section_failed"
    section: str | None = None
    """The section's name."""

    @classmethod
    def of(cls, section: str) -> Self:
        """Return the error that names the section."""
        error = cls(f"The code of section `{section}` failed. Tell the operator: its error is in the log.")
        error.section = section
        return error

    def of_record(self, index: int) -> Self:
        """See the base class."""
        error = super().of_record(index)
        error.section = self.section
        return error


class SourceFailed(PortraitError):
    """A declared source cannot be reached, or answers what cannot be shown.

    The detail is for whoever asked and tells nothing of what lies behind; `log_text` is for the operator's log. Neither
    holds a secret or a value.
    """

    code = "source_failed"

    def __init__(self, detail: str, log_text: str | None = None) -> None:
        super().__init__(detail)
        self.log_text = log_text or detail


class Defect(PortraitError):
    """The service failed: the cause is in the log, under the request's id."""

    code = "internal_error"


class StartRefused(PortraitError):
    """The service or a command cannot start: the detail says what is wrong and what to do."""

    code = "start_refused"


class InvalidSetting(StartRefused):
    """A setting breaks its rule."""

    code = "invalid_setting"


class DatabaseRefused(StartRefused):
    """A database that is locked, read-only, corrupt, from a newer version, or not a database."""

    code = "database_refused"


class PluginRefused(StartRefused):
    """A plugin that does not import, or whose declaration is invalid."""

    code = "plugin_refused"


class SourceRefused(StartRefused):
    """A file of declared sources that cannot be read, or declares what cannot be; no secret is repeated."""

    code = "source_refused"


class InputRefused(StartRefused):
    """A file that cannot be loaded or matched: of another format, unreadable, without ids, or saying too little."""

    code = "input_refused"


class TableBroken(InputRefused):
    """A table of which no further row can be read: the detail says behind which row, why, and how to go on."""

    code = "table_broken"


class InvalidMapping(StartRefused):
    """A mapping that breaks its form, or does not fit the sections or the table; `faults` says each fault by itself."""

    code = "invalid_mapping"
    faults: tuple[str, ...] = ()
