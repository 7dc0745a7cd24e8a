"""The one table from error to status, and problem details (RFC 9457)."""

from random import Random
from secrets import randbits
from typing import Any

import msgspec

from portrait.model import errors

STATUSES: dict[type[errors.PortraitError], tuple[int, str]] = {
    errors.PortraitError: (500, "The request failed"),
    errors.InvalidRequest: (400, "The request is not valid"),
    errors.MalformedRequest: (400, "The request is malformed"),
    errors.HeadTooLarge: (431, "The request's head is too large"),
    errors.TargetTooLong: (414, "The request's target is too long"),
    errors.HeadTooSlow: (408, "The request's head took too long"),
    errors.MalformedJson: (400, "The JSON is malformed"),
    errors.InvalidParameter: (400, "A parameter is not valid"),
    errors.UnknownSection: (400, "Unknown section"),
    errors.TenantRequired: (400, "No tenant is named"),
    errors.UnsupportedMediaType: (415, "The body's format is not supported"),
    errors.BodyTooLarge: (413, "The body is too large"),
    errors.BodyTooSlow: (408, "The body took too long"),
    errors.InvalidRecord: (422, "A record is not valid"),
    errors.TooManyKeys: (422, "The section is full"),
    errors.SectionTooLarge: (422, "The section is too large"),
    errors.AnswerTooLarge: (413, "The answer would be too large"),
    errors.UnknownIdentifierType: (422, "Unknown type of identifier"),
    errors.BlockedIdentifier: (422, "The identifier is blocked"),
    errors.SelfLink: (422, "An identifier or customer cannot be joined with itself"),
    errors.InvalidRules: (422, "The identity rules are not valid"),
    errors.NotSupported: (422, "Not supported"),
    errors.AccessDenied: (403, "Access denied"),
    errors.Unauthenticated: (401, "No valid credential"),
    errors.TenantForbidden: (403, "No access to this tenant"),
    errors.HostForbidden: (403, "The Host header is not a name of this machine"),
    errors.OriginForbidden: (403, "The write key is not for this page"),
    errors.RoleForbidden: (403, "The role may not do this"),
    errors.SectionForbidden: (403, "The role may not use this section"),
    errors.NotFound: (404, "Not found"),
    errors.RouteNotFound: (404, "No such operation"),
    errors.CustomerNotFound: (404, "Unknown customer"),
    errors.IdentifierNotFound: (404, "Unknown identifier"),
    errors.RecordNotFound: (404, "No such record"),
    errors.KeyNotFound: (404, "No such key"),
    errors.MethodNotAllowed: (405, "The method is not allowed"),
    errors.Conflict: (409, "Conflict"),
    errors.EventConflict: (409, "The event exists with another body"),
    errors.LinkRefused: (409, "A rule refuses the link"),
    errors.NotMerged: (409, "Not one person, and no link waits for review"),
    errors.StillMerged: (409, "The two are one person"),
    errors.TenantExists: (409, "The tenant exists"),
    errors.Unavailable: (503, "The service is not available"),
    errors.TooManyEvents: (429, "Too many events"),
    errors.Overloaded: (503, "The service is overloaded"),
    errors.StorageBusy: (503, "The database is busy"),
    errors.StorageFull: (503, "The database is full"),
    errors.StorageFailed: (503, "The database failed"),
    errors.TooManyConnections: (503, "Too many connections"),
    errors.ShuttingDown: (503, "The service is stopping"),
    errors.SectionFailed: (500, "A section failed"),
    errors.SourceFailed: (500, "A declared source failed"),
    errors.Defect: (500, "The service failed"),
    errors.StartRefused: (500, "The service cannot start"),
    errors.InvalidSetting: (500, "A setting is not valid"),
    errors.DatabaseRefused: (500, "The database cannot be used"),
    errors.PluginRefused: (500, "A plugin cannot be used"),
    errors.SourceRefused: (500, "A declared source cannot be used"),
    errors.InputRefused: (500, "A file cannot be used"),
    errors.TableBroken: (500, "A table cannot be read on"),
    errors.InvalidMapping: (500, "A mapping cannot be used"),
}
"""Every error of the tree: its status and title."""

MEDIA_TYPE = "application/problem+json"
INTERNAL = errors.Defect("The service failed. Give the operator the request's id.")


class Problem(msgspec.Struct, rename="camel"):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    reason: str | msgspec.UnsetType = msgspec.UNSET


def problem(error: errors.PortraitError, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, headers and body that answer an error."""
    status, title = STATUSES[type(error)]
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"}
    match error:
        case errors.Unauthenticated():
            headers["www-authenticate"] = 'Bearer realm="portrait"'
        case errors.MethodNotAllowed():
            headers["allow"] = ", ".join(error.allowed)
        case errors.Unavailable():
            headers["retry-after"] = str(error.retry_after)
        case _:
            pass
    body = Problem(
        f"/docs#problem-{error.code}", title, status, error.detail, f"urn:uuid:{request_id}", error.code,
        error.reason or msgspec.UNSET,
    )  # fmt: skip
    return status, headers, msgspec.json.encode(body)


_bits = Random(randbits(256)).getrandbits  # noqa: S311  # see `new_request_id`


def new_request_id() -> str:
    """Return a request's id: a random UUID (RFC 9562, version 4). It guards nothing, so it needs no system call."""
    digits = f"{_bits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def statuses_of(*kinds: type[errors.PortraitError]) -> dict[int, list[str]]:
    """Return, by status, the codes of some errors."""
    codes: dict[int, list[str]] = {}
    for kind in kinds:
        codes.setdefault(STATUSES[kind][0], []).append(kind.code)
    return codes


def tree() -> list[type[errors.PortraitError]]:
    """Return every error of the tree, each after its base class."""
    kinds: list[type[Any]] = [errors.PortraitError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return kinds
