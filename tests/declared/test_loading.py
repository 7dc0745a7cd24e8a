"""Files of declared sources: every fault is said at start, with file and key, and no secret is repeated."""

import sys
from dataclasses import replace

import pytest

from portrait.declared import load
from portrait.model.errors import PluginRefused, SourceRefused
from portrait.sections.registry import Registry

QUERY = {
    "database": '"sqlite:///loyalty.db"',
    "sql": '"SELECT tier FROM members WHERE customer_id = :customer_id AND tenant = :tenant_id"',
}
HTTP = {"url": '"https://shop.example/{tenant_id}/{customer_id}"'}
SECRET = "hunter2"


def written(tmp_path, query=None, http=None, **section):
    """Write a file with one section; return its path."""
    lines = ["[sections.loyalty]"]
    lines += [f"{key} = {value}" for key, value in ({"description": '"Points."'} | section).items()]
    for name, table in (("query", query), ("http", http)):
        if table is not None:
            lines += [f"[sections.loyalty.{name}]", *(f"{key} = {value}" for key, value in table.items())]
    file = tmp_path / "sources.toml"
    file.write_text("\n".join(lines))
    return str(file)


def test_a_file_makes_sections_as_it_says(tmp_path):
    more = {"roles": '["admin"]', "timeout": "0.3", "cache_seconds": "60", "default": "false"}
    section = load([written(tmp_path, QUERY, **more)])[0]
    assert (section.name, section.description, section.roles) == ("loyalty", "Points.", {"admin"})
    assert (section.timeout, section.cache_seconds, section.default, section.breaker) == (0.3, 60, False, (5, 30.0))
    usual = load([written(tmp_path, http=HTTP)])[0]
    assert (usual.timeout, usual.cache_seconds, usual.default) == (0.2, 0, True)
    assert usual.roles == {"viewer", "editor", "admin"}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"description": "1"}, "description: Expected `str`, got `int`"),
        ({"timeout": "0"}, "timeout: Expected `float` > 0"),
        ({"timeout": "61"}, "timeout: Expected `float` <= 60"),
        ({"timeout": "nan"}, "timeout"),
        ({"cache_seconds": "-1"}, "cache_seconds"),
        ({"roles": "[]"}, "roles"),
        ({"roles": '["owner"]'}, r"roles\[0\]: is none of the values"),
        ({"tenants": "[]"}, "tenants"),
        ({"identifiers": '["Card"]'}, "identifiers"),
        ({"speed": "1"}, "contains unknown field `speed`"),
        ({"breaker": "{ failures = 0 }"}, "breaker.failures"),
        ({"breaker": "{ seconds = 0 }"}, "breaker.seconds"),
    ],
)
def test_a_section_that_cannot_be_is_refused(tmp_path, section, words):
    with pytest.raises(SourceRefused, match=rf"sources.toml, \[sections.loyalty\]: .*{words}"):
        load([written(tmp_path, QUERY, **section)])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"database": '"mysql://db/x"'}, "query.database must begin with sqlite:/// or postgresql://"),
        ({"database": f'"{SECRET}"'}, "query.database must begin with"),
        ({"database": f'"postgresql://u:{SECRET}@db/x"'}, "query.database holds a password: leave it out and write"),
        ({"database": f'"postgresql://u@db/x?password={SECRET}"'}, "query.database holds a password"),
        ({"database": '"sqlite://loyalty.db"'}, "query.database: The database must name a file"),
        ({"database": '"sqlite:///:memory:"'}, "in memory"),
        ({"password": f'"{SECRET}"'}, "query.password must be .* never the password itself"),
        ({"password": f'["{SECRET}"]'}, "query.password must be .* never the password itself"),
        ({"password": "{}"}, "query.password must be either"),
        ({"password": '{ env = "A", file = "b" }'}, "query.password must be either"),
        ({"password": f'{{ value = "{SECRET}" }}'}, "query.password: .*unknown field `value`"),
        ({"password": '{ env = "HOME" }'}, "query.password is for a server"),
        ({"sql": '"SELECT :customerid, :tenant_id"'}, "query.sql names customerid; known are customer_id, tenant_id"),
        ({"sql": '"SELECT :tenant_id"'}, "query.sql says nothing of the customer"),
        ({"sql": '"SELECT :customer_id"'}, "query.sql says nothing of the tenant"),
        ({"sql": '"DELETE FROM members"'}, "query.sql must be a statement that reads"),
        ({"rows": "0"}, "query.rows"),
        ({"rows": "10001"}, "query.rows"),
        ({"rows": '"many"'}, "query.rows: Expected `int`, got `str`"),
    ],
)
def test_a_query_that_cannot_be_is_refused(tmp_path, query, words):
    with pytest.raises(SourceRefused, match=rf"\[sections.loyalty\]: .*{words}") as refused:
        load([written(tmp_path, QUERY | query)])
    assert SECRET not in refused.value.detail


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ({"url": '"http://shop.example/{tenant_id}/{customer_id}"'}, "http.url must begin with https://.*allow_http"),
        ({"url": f'"https://u:{SECRET}@shop.example/"'}, "http.url holds a user or password"),
        ({"url": f'"https://shop.example/{{customer_id}}?token={SECRET}"'}, "http.url has a secret in its query"),
        ({"url": '"https://shop.example/{card}"'}, "http.url names card; known are"),
        ({"url": '"https://shop.example/{email_json}"'}, "http.url names email_json; a URL takes one value: use email"),
        ({"url": '"https://shop.example/{tenant_id}"'}, "http.url says nothing of the customer"),
        ({"url": '"https://shop.example/{customer_id}"'}, "http.url says nothing of the tenant"),
        ({"headers": f'{{ Authorization = "{SECRET}" }}'}, "http.headers.Authorization must be .* never the secret"),
        ({"headers": f'{{ X-Api-Key = "{SECRET}" }}'}, "http.headers.X-Api-Key must be"),
        ({"headers": f'{{ Cookie = "{SECRET}" }}'}, "http.headers.Cookie must be"),
        ({"headers": '{ Host = "x" }'}, "http.headers.Host is set by the call itself"),
        ({"headers": '{ "a b" = "x" }'}, "http.headers has a name that no header has"),
        ({"headers": '{ A = "x\\r\\nB: y" }'}, "http.headers.A must be one line"),
        ({"headers": '{ A = "x", a = "y" }'}, "http.headers has one header twice"),
        ({"headers": '{ A = { env = "HOME", prefix = "\\r\\n" } }'}, "http.headers.A.prefix must be"),
        ({"records": '"parcels"'}, r"http.records must begin with \$"),
        ({"fields": '{ id = "$[*]" }'}, "http.fields.id must lead to one value"),
        ({"allow_private": '["10.0.0.1/8"]'}, "http.allow_private: 10.0.0.1/8 is no network"),
        ({"not_found": '"ignore"'}, "http.not_found: is none of the values"),
        ({"max_bytes": "0"}, "http.max_bytes"),
        ({"max_bytes": "67108865"}, "http.max_bytes"),
    ],
)
def test_a_call_that_cannot_be_is_refused(tmp_path, http, words):
    with pytest.raises(SourceRefused, match=rf"\[sections.loyalty\]: .*{words}") as refused:
        load([written(tmp_path, http=HTTP | http)])
    assert SECRET not in refused.value.detail


def test_a_section_is_either_a_query_or_a_call(tmp_path):
    for tables in ({}, {"query": QUERY, "http": HTTP}):
        with pytest.raises(SourceRefused, match="must have either a table `query` or a table `http`"):
            load([written(tmp_path, **tables)])


def test_one_tenant_alone_need_not_be_named_in_the_query(tmp_path):
    query = QUERY | {"sql": '"SELECT :customer_id"'}
    assert load([written(tmp_path, query, tenants='["shop"]')])
    with pytest.raises(SourceRefused, match="says nothing of the tenant"):
        load([written(tmp_path, query, tenants='["shop", "other"]')])


def test_types_of_ones_own_can_be_named_where_they_are_listed(tmp_path):
    query = QUERY | {"sql": '"SELECT :card, :card_json, :tenant_id"'}
    assert load([written(tmp_path, query, identifiers='["card"]')])
    with pytest.raises(SourceRefused, match="names card"):
        load([written(tmp_path, query)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must have tables"),
        ("sections = 1", "must have tables"),
        ("[sections.a]\ndescription = 'x'\n[section.b]\n", "must have tables"),
        ("[sections]\na = 1", r"\[sections.a\]: Expected `object`, got `int`"),
        (f"[sections.a\npassword = '{SECRET}'", r"is no TOML \(at line 1"),
        (f"password = '{SECRET}", r"is no TOML"),
        (f"[sections.'{SECRET} x']\n", r"\[sections.…\]"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, words):
    file = tmp_path / "sources.toml"
    file.write_text(content)
    with pytest.raises(SourceRefused, match=words) as refused:
        load([str(file)])
    assert SECRET not in refused.value.detail


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceRefused, match="cannot be read: No such file"):
        load([str(tmp_path / "nothing.toml")])
    (tmp_path / "sources.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceRefused, match="is no TOML"):
        load([str(tmp_path / "sources.toml")])


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ('{ env = "PORTRAIT_TEST_NOTHING" }', "the environment variable PORTRAIT_TEST_NOTHING is not set"),
        ('{ env = "PORTRAIT_TEST_EMPTY" }', "PORTRAIT_TEST_EMPTY is empty"),
        ('{ env = "PORTRAIT_TEST_LINES" }', "something other than one line"),
        ('{ file = "/nowhere/secret" }', "the file /nowhere/secret cannot be read: No such file"),
    ],
)
def test_a_secret_that_is_not_there_is_refused_at_the_start_of_a_service(tmp_path, monkeypatch, secret, words):
    monkeypatch.setenv("PORTRAIT_TEST_EMPTY", "")
    monkeypatch.setenv("PORTRAIT_TEST_LINES", f"{SECRET}\n{SECRET}")
    file = written(tmp_path, http=HTTP | {"headers": f"{{ Authorization = {secret} }}"})
    with pytest.raises(SourceRefused, match=rf"http.headers.Authorization: .*{words}") as refused:
        load([file])
    assert SECRET not in refused.value.detail
    assert load([file], secrets=False), "a command that shows no profile needs none"


@pytest.mark.parametrize("name", ["segments", "unified-profile", "Loyalty", "a b"])
def test_a_name_that_cannot_be_is_refused_as_a_plugins(tmp_path, name):
    section = replace(load([written(tmp_path, QUERY)])[0], name=name)
    registry = Registry()
    registry.add(replace(section, name="segments"))
    with pytest.raises(PluginRefused, match=r"sources.toml.* cannot be a section's name|Two sections are called"):
        registry.add(section)


@pytest.mark.parametrize(
    ("module", "extra", "tables"),
    [
        ("httpcore", "http", {"http": HTTP}),
        ("asyncpg", "postgres", {"query": QUERY | {"database": '"postgresql://u@db/x"'}}),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, module, extra, tables):
    for name in [name for name in sys.modules if name.startswith(("portrait.declared.http", "portrait.declared.post"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "portrait.declared.connecting", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceRefused, match=rf"Install it: .*\[{extra}\]"):
        load([written(tmp_path, **tables)])
