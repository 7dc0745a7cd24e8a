"""SQL of declared sources: names become parameters wherever they are no part of a text or comment."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.declared.sql import statement

ENGINES = ("sqlite", "postgresql")


@pytest.mark.parametrize(
    ("sql", "sqlite", "postgresql"),
    [
        ("SELECT :a", "SELECT ?1", "SELECT $1::text"),
        ("select :a, :b, :a", "select ?1, ?2, ?1", "select $1::text, $2::text, $1::text"),
        ("SELECT ':a', :b", "SELECT ':a', ?1", "SELECT ':a', $1::text"),
        ("SELECT 'it''s :a', :b", "SELECT 'it''s :a', ?1", "SELECT 'it''s :a', $1::text"),
        ('SELECT ":a" -- :b\n, :c', 'SELECT ":a"  \n, ?1', 'SELECT ":a"  \n, $1::text'),
        ("SELECT /* :a */ :b", "SELECT   ?1", "SELECT   $1::text"),
        ("SELECT :a;  -- done", "SELECT ?1", "SELECT $1::text"),
        ("WITH t AS (SELECT 1) SELECT :a", "WITH t AS (SELECT 1) SELECT ?1", "WITH t AS (SELECT 1) SELECT $1::text"),
        ("(SELECT :a)", "(SELECT ?1)", "(SELECT $1::text)"),
    ],
)
def test_names_become_parameters(sql, sqlite, postgresql):
    assert [statement(sql, engine).text for engine in ENGINES] == [sqlite, postgresql]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT x::date, :a::uuid", "SELECT x::date, $1::text::uuid"),
        ("SELECT E'\\':a', :b", "SELECT E'\\':a', $1::text"),
        ("SELECT U&':a', :b", "SELECT U&':a', $1::text"),
        ("SELECT $$:a$$, :b", "SELECT $$:a$$, $1::text"),
        ("SELECT $t$ $$ :a $t$, :b", "SELECT $t$ $$ :a $t$, $1::text"),
        ("SELECT /* /* :a */ :b */ :c", "SELECT   $1::text"),
        ("SELECT name$x$, :a, 'y$x$'", "SELECT name$x$, $1::text, 'y$x$'"),
        ("SELECT tags ? 'a', :a", "SELECT tags ? 'a', $1::text"),
        ("SELECT '\\', :a", "SELECT '\\', $1::text"),
    ],
)
def test_postgresqls_own_texts_and_comments_are_left_as_they_are(sql, text):
    assert statement(sql, "postgresql").text == text


@pytest.mark.parametrize(
    ("sql", "text"),
    [("SELECT `:a`, :b", "SELECT `:a`, ?1"), ("SELECT [:a], :b", "SELECT [:a], ?1")],
)
def test_sqlites_own_quotes_are_left_as_they_are(sql, text):
    assert statement(sql, "sqlite").text == text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT :a; SELECT 1", "more than one statement"),
        ("SELECT :a; DROP TABLE members", "more than one statement"),
        ("SELECT 'a", "without its end"),
        ('SELECT "a', "without its end"),
        ("SELECT /* a", "without its end"),
        ("DELETE FROM members WHERE id = :a", "must be a statement that reads"),
        ("PRAGMA writable_schema = 1", "must be a statement that reads"),
        ("-- nothing", "must be a statement that reads"),
        ("", "must be a statement that reads"),
    ],
)
def test_what_is_no_single_statement_that_reads_is_refused(engine, sql, words):
    with pytest.raises(ValueError, match=words):
        statement(sql, engine)


@pytest.mark.parametrize(
    ("sql", "engine"),
    [
        ("SELECT $1", "postgresql"),
        ("SELECT ?", "sqlite"),
        ("SELECT ?1", "sqlite"),
        ("SELECT @a", "sqlite"),
        ("SELECT $a", "sqlite"),
    ],
)
def test_the_engines_own_parameters_are_refused(sql, engine):
    with pytest.raises(ValueError, match="write values as :name"):
        statement(sql, engine)


TEXTS = st.text(st.sampled_from(list("ab:'\"-/*;`[]$ \n?@\\")), max_size=8)


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
def test_texts_of_any_content_stay_texts_and_a_value_is_a_value(texts, value):
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    made = statement(f"SELECT {quoted}, :a /* it's \" */ -- ' :b\n, :a", "sqlite")
    assert made.names == ("a",)
    connection = apsw.Connection(":memory:")
    assert [*connection.execute(made.text, [value])] == [(*texts, value, value)]
    assert statement(f"SELECT {quoted}, :a", "postgresql").names == ("a",)


@given(TEXTS.map(lambda text: f"SELECT {text}"))
def test_no_text_makes_the_reading_hang_or_break(sql):
    for engine in ENGINES:
        try:
            made = statement(sql, engine)
        except ValueError:
            continue
        assert set(made.names) <= {"a", "b", "ab", "ba"} or all(name.strip("ab") == "" for name in made.names)
