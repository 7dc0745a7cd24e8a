"""How often what happens: the table of what the stream is made of."""

from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta


def _is(what: str) -> Meta:
    return Meta(description=what)


class Shares(msgspec.Struct, frozen=True):
    """Probabilities. None is measured anywhere: they are set by hand, to mislead often enough to be seen."""

    account: Annotated[float, _is("people who sign up for an account once, so get a customer id")] = 0.6
    two_accounts: Annotated[
        float, _is("of these, people with two accounts, one for each address where they have two")
    ] = 0.02
    two_emails: Annotated[float, _is("people with two e-mail addresses")] = 0.25
    own_device: Annotated[float, _is("people with a phone of their own, on which they use the app")] = 0.8
    second_device: Annotated[float, _is("people with a browser of their own besides")] = 0.5
    shared_device: Annotated[float, _is("households of two or more with a computer that all of them use")] = 0.3
    kiosk: Annotated[float, _is("visits at one of 2 tablets in shops, which have the app, by whoever comes along")] = (
        0.01
    )
    logout: Annotated[
        float, _is("visits to a shared device that end with a logout, which gives it a new anonymous id")
    ] = 0.5
    cleared: Annotated[float, _is("visits before which a browser's cookies were cleared")] = 0.05
    login: Annotated[float, _is("visits of people with an account in which they log in, by its address")] = 0.5
    newsletter: Annotated[float, _is("visits in which an address is typed into a form, without login")] = 0.05
    purchase: Annotated[float, _is("visits that end in a purchase: under the customer id, or as a guest by e-mail")] = (
        0.2
    )
    service: Annotated[
        float, _is("visits followed by a call, which a CRM writes down as phone number and address or id")
    ] = 0.03
    phone_given: Annotated[float, _is("forms of sign-up and purchase with a phone number")] = 0.6
    typo: Annotated[float, _is("addresses typed into forms with an error; at a login there is none")] = 0.02
    junk: Annotated[
        float, _is("addresses and numbers in forms, each, that are no one's: `null`, `test@test.com`, `000-000`")
    ] = 0.02
    relative_phone: Annotated[float, _is("phone numbers in forms that are another's of the household")] = 0.01
    desk_email: Annotated[
        float, _is("guests' purchases and calls under one of 5 addresses of the company's own staff")
    ] = 0.005
    guess: Annotated[
        float, _is("visits after which a bought list tells two identifiers to be one person, at confidence 0.3")
    ] = 0.01
    guess_right: Annotated[float, _is("of these, those that are right; the others name another of the household")] = 0.5


def table(shares: Shares) -> list[tuple[str, str, str]]:
    """Return name, share and meaning of each."""
    hints = get_type_hints(Shares, include_extras=True)
    return [(name, f"{getattr(shares, name):g}", hint.__metadata__[0].description) for name, hint in hints.items()]
