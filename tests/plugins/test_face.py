"""The public face is enough: built-in sections can be written in it, and every type that it speaks of is in it."""

import inspect
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portrait
from harness import START, service
from plugins.rebuilt import AGAIN, sources
from portrait.sections import registry
from portrait.sections.registry import BUILT_IN
from sections.facts import MINUTE, SECTIONS, facts_of, rendered, state_of, statements_of


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Return each built-in section as it is when a plugin brings it, by the built-in's name."""
    files = {name: tmp_path_factory.mktemp("again") / f"{name}.py" for name in BUILT_IN}
    for name, source in sources().items():
        files[name].write_text(source)
    loaded = registry.load([str(path) for path in files.values()], installed=False)
    return {name: loaded.stored(f"{name}{AGAIN}") for name in BUILT_IN}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_section_written_as_a_plugin_shows_the_same_of_any_facts(again, name):
    @settings(max_examples=40, deadline=None)
    @given(statements_of(SECTIONS[name]), st.integers(-125, 125))
    def same(statements, minutes):
        own, others = (
            rendered(section, state_of(section, facts_of(section, statements)), START + minutes * MINUTE)
            for section in (SECTIONS[name], again[name])
        )
        assert own == others

    same()


async def test_consent_written_as_a_plugin_is_recorded_and_read_as_the_built_in_one(tmp_path):
    plugin = tmp_path / "consent_again.py"
    plugin.write_text(sources()["consent"])
    consent = {"kind": "consent", "purpose": "ads", "channel": "email"}
    decisions = [
        {**consent, "status": "granted", "grantedAt": "2026-01-01T00:00:00Z"},
        {**consent, "status": "revoked", "revokedAt": "2026-02-01T00:00:00Z"},
        {"kind": "preference", "key": "language", "value": "fr", "updatedAt": "2026-01-01T00:00:00Z"},
    ]  # fmt: skip
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        for name in ("consent", f"consent{AGAIN}"):
            assert await running.recorded(name, decisions) == {"recorded": 3, "duplicates": 0}
        own, others = [await running.section(name) for name in ("consent", f"consent{AGAIN}")]
        assert own == others
        assert [record.get("status") for record in own] == ["revoked", None]
        refused = [await running.record(name, {"kind": "consent"}) for name in ("consent", f"consent{AGAIN}")]
        assert [response.status_code for response in refused] == [422, 422]
        assert refused[0].json()["detail"] == refused[1].json()["detail"]


def spoken_of(value):
    """Yield the types that a public value's signature, fields and methods name."""
    if inspect.isclass(value):
        yield from named(typing.get_type_hints(value, include_extras=True).values(), without=value)
        for name, member in inspect.getmembers(value):
            function = member.fget if isinstance(member, property) else member
            if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
                yield from named(typing.get_type_hints(function).values(), without=value)
    elif inspect.isfunction(value):
        yield from named(typing.get_type_hints(value).values())
    else:
        yield from named([value])


def named(hints, without=None):
    for hint in hints:
        if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and hint is not without:
            yield hint
        yield from named([argument for argument in typing.get_args(hint) if not isinstance(argument, list)], without)
        yield from named(
            [argument for args in typing.get_args(hint) if isinstance(args, list) for argument in args], without
        )


def test_every_type_that_the_public_face_speaks_of_is_in_it():
    face = {getattr(portrait, name) for name in portrait.__all__ if inspect.isclass(getattr(portrait, name))}
    missing = {
        (name, type_.__qualname__)
        for name in portrait.__all__
        for type_ in spoken_of(getattr(portrait, name))
        if type_.__module__.split(".")[0] == "portrait" and type_ not in face
    }
    assert missing == set()


def test_the_classification_of_0_1_0_goes_on_under_its_old_name():
    assert portrait.none is portrait.impersonal
    assert "none" not in portrait.__all__
