from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.templates import compile_template
from agent.templates.gotext import quote, shortest, unquote
from tests.servers.rule_mixins import refused, rendered

LABELS = {
    "__name__": "made",
    "instance": "db1.example.com:9100",
    "ip": "[::1]:80",
    "hostile": '{{ $value }} "}} <b>\\',
    "word": "it's a foo-bar_baz 3x a.b über",
    "seconds": "90.5",
    "span": "1h30m",
}
VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 999.95, 1000.0, 1024.0, 123456.0, 1234567.0, 1e20, 1e21, 1e22, 1.5e300]
VALUES += [5e-324, 1e-5, 0.1 + 0.2, -12345.678, 59.99996, 60.0, 3599.5, 86400.0, 1e6, 9999.5, 1700000000.123]
VALUES += [253402300799.0, -86400.5, math.nan, math.inf, -math.inf]
TEMPLATES = [
    "plain text",
    "{{ $value }}",
    "{{ .Value }} {{ $.Value }}",
    "{{ $labels.instance }} {{ .Labels.instance }} {{ $labels.missing }}|",
    "{{ $labels.hostile }}",
    "{{ $labels }} {{ . }} {{ $externalLabels.x }}|{{ $externalURL }}|",
    "a {{- $value -}} b {{- /* a comment */ -}} c {{/* another */}} d",
    "{{ $value | humanize }}",
    "{{ humanize $value }}",
    "{{ $value | humanize1024 }}",
    "{{ $value | humanizeDuration }}",
    "{{ $value | humanizePercentage }}",
    '{{ $value | printf "%.2f" | humanize }}',
    "{{ $labels.seconds | humanizeDuration }} {{ humanize $labels.seconds }}",
    "{{ parseDuration $labels.span }} {{ parseDuration `1d` | humanizeDuration }}",
    '{{ printf "%.2f %.0f %f %e %g %v %5.1f|%-8.3g|%+.1f|%08.2f" ' + "$value " * 10 + "}}",
    '{{ printf "%d %s %q %t %x" $value $value $value $value $labels.span }}',
    '{{ printf "%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%v" 42 42 42 42 42 42 42 42 42 42 42 }}',
    '{{ printf "%s|%10s|%-10s|%.3s|%v|%d|%x|%q" ' + "$labels.span " * 7 + "$labels.hostile }}",
    '{{ printf "%d%% %! %" 1 2 }} {{ printf "%z" 1 }} {{ printf "%s" }} {{ printf "%[2]d %[1]d" 1 2 }}',
    "{{ printf `%q %q %q %q %v %s` 0 39 34 $labels $labels $labels }}",
    "{{ printf `%c%c%q` 55296 1114112 97 }} {{ printf `%5t|% d|%x` true 3 `ü` }}",
    '{{ printf "%t" true }} {{ printf "%d" }} {{ printf "%[3]d" 1 }} {{ printf "a" 1.0 nil }}',
    "{{ title $labels.word }} {{ toUpper $labels.word }} {{ $labels.word | toLower }}",
    "{{ title `1st a.1b a_b X-RAY` }} {{ toUpper `ßé` }}",
    '{{ reReplaceAll "(.*):(\\\\d+)" "$2 at ${1}" $labels.instance }} {{ reReplaceAll "x*" "-" "abxc" }}',
    '{{ reReplaceAll "(?P<host>[a-z]+)" "<$host$$$1$9>" "ab1" }} {{ match "^db" $labels.instance }}',
    "{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}",
    "{{ stripPort $labels.ip }} {{ stripDomain $labels.ip }}",
    "{{ stripPort `a:b:c` }} {{ stripDomain `10.0.0.1:9` }} {{ stripDomain `a.b` }}",
    "{{ stripPort `[::1]` }} {{ stripDomain `[fe80::1%eth0]:1` }} {{ stripPort `[a]b:1` }} {{ stripPort `:1` }}",
    "{{ if gt $value 10.0 }}high{{ else if gt $value 1.0 }}middle{{ else }}low{{ end }}",
    "{{ if and (ge $value 0.0) (lt $value 5.0) }}in{{ else }}out{{ end }} {{ if or false $labels.missing }}a{{ end }}",
    '{{ if eq $labels.span "a" "1h30m" }}yes{{ end }}{{ if ne $labels.span "x" }}no{{ end }}{{ not true }}',
    "{{ le $value 1.0 }} {{ ge $value 1.0 }} {{ gt $value 1.0 }} {{ lt $value 1.0 }} {{ eq $value $value }}",
    "{{ ne 1 2 }}",
    "{{ if $value }}some{{ else }}none{{ end }}{{ if $labels.missing }}a{{ end }}",
    "{{ with $labels.span }}span {{ . }} {{ $.Value }}{{ end }}{{ with $labels.missing }}x{{ else }}none{{ end }}",
    "{{ with $labels.missing }}a{{ else with $labels.span }}{{ . }}{{ else }}b{{ end }}",
    "{{ with $labels }}{{ .span }}{{ end }}{{ with $x := 3 }}{{ $x }}{{ . }}{{ end }}",
    '{{ $x := "a" }}{{ if true }}{{ $x = "b" }}{{ $x := "c" }}{{ $x }}{{ end }}{{ $x }}',
    "{{ (index $labels `span`) }} {{ ($labels).span }} {{ len $labels.span }} {{ and 1 0 }} {{ or 0 2 }}",
    "{{ print 1 2 `a` 3.0 true }} {{ println `x` 1 }} {{ html `<a href=\"'&'>` }} {{ urlquery `a b&ü/~` }}",
    "{{ 1 }} {{ 1.0 }} {{ 1e3 }} {{ 0x1F }} {{ 'a' }} {{ -2 }} {{ true }} {{ 017 }} {{ .5 }}",
    '{{ "a\\tb\\u00e9\\"" }} {{ `raw\\n` }} {{ 100000.0 }}',
    "{{ args 1 `b` }} {{ with args 1 `b` }}{{ .arg0 }}{{ .arg1 }}{{ .arg2 }}{{ end }}",
    "{{ safeHtml `<b>` }} {{\n$value\n}} {{$value|humanize}}",
    "{{ humanizeTimestamp $value }} {{ $value | }}",
    # these fail as they are rendered
    "{{ eq $value 1 }}",
    "{{ $labels.word | humanize }}",
    "{{ .Nothing }}",
    "{{ nil }}",
    "{{ toUpper 1 }}",
    "{{ humanize 1 2 }}",
    "{{ $value | $labels.span }}",
    "{{ reReplaceAll `(` `` `` }}",
    "{{ lt true false }}",
    "{{ parseDuration `1x` }}",
    "{{ eq $labels $labels }}",
    "{{ $labels.span.more }}",
    "{{ printf 1 }}",
    "{{ if lt $value 1 }}a{{ end }}",
    "{{ $x = 1 }}",
    "{{ $labels.span | $labels.span }}",
    "{{ len 1 }} {{ index 1 2 }}",
    "{{ and }}",
    "{{ and true (lt 1 2.0) }}",
]
DURATION = TEMPLATES.index("{{ $value | humanizeDuration }}")
FAILED = "<error expanding template: "
WORDS = "{{ }} {{- -}} if else end with range $x := = | ( ) .a . $labels $value humanize printf 1 1.5 nil /* */ and , a"
TOKENS = [*WORDS.split(" "), '"%s"', "$labels.a", "-2", "true", "query"]
MALFORMED = [
    "{{", "{{ $value", "{{ }}", "{{ . }", "{{ nosuch }}", "{{ $nosuch }}", "{{ if }}{{ end }}", "{{ if true }}",
    "{{ end }}", "{{ else }}", "{{ if true }}{{ else }}{{ else }}{{ end }}",
    "{{ ( }}", "{{ (1 }}", "{{ 1) }}", '{{ "a }}', "{{ `a }}",
    "{{ $labels.1 }}", "{{ 1 | 2 }}", "{{ | humanize }}", "{{ /* }}", "{{/* a */ x}}", "{{ a,b }}", "{{ 1x }}",
    '{{ "a""b" }}', '{{ "\\z" }}', "{{ with }}a{{ end }}", "{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}",
    "{{ #  }}", "{{ range }}{{ end }}", "{{ range $labels }}", "{{ if query }}", "{{ 1.2.3 }}", "{{ end x }}",
    "{{ 18446744073709551616 }}", "{{ 1e999 }}", "{{ break }}{{", "{{ 'ab' }}",
    "{{ if 1 }}{{ else with 2 }}{{ end }}", "{{ with 1 }}{{ else if 2 }}{{ end }}",
    "{{ query `up` | nosuch }}",
]  # fmt: skip
WHOLE = [
    '{{ query "up" }}', "{{ range query `up` }}{{ .Value }}{{ else }}none{{ end }}",
    "{{ with query `up` }}{{ . | first | value }}{{ end }}",
    "{{ tableLink `up` }}", "{{ externalURL }}", "{{ define `a` }}x{{ end }}{{ template `a` }}", "{{ toTime $value }}",
    "{{ range $i, $x := query `up` }}{{ $i }}{{ break }}{{ end }}", "{{ js `a` }}", "{{ slice `abc` 1 }}",
]  # fmt: skip


def render(template: str, value: float = 1.5, labels: dict[str, str] = LABELS) -> str:
    return compile_template(template).render(labels, value)


@pytest.mark.servers
def test_every_template_is_rendered_as_promtool_renders_it(tmp_path: Path) -> None:
    random.seed(4)
    values = VALUES + [random.choice((1, -1)) * random.random() * 10 ** random.randrange(-30, 32) for _ in range(150)]
    values += [random.choice((1, -1)) * random.random() * 10 ** random.randrange(0, 7) for _ in range(150)]
    written = ", ".join(f"{name}={quote(text)}" for name, text in LABELS.items() if name != "__name__")
    series = [
        (f'{written}, n="{at}"', repr(value).replace("inf", "Inf").replace("nan", "NaN"))
        for at, value in enumerate(values)
    ]
    compiled = [compile_template(template) for template in TEMPLATES]
    assert not [template.unsupported for template in compiled if template.unsupported]
    wrong = []
    for theirs in rendered(tmp_path, TEMPLATES, series):
        value = values[int(theirs.labels["n"])]
        for at, template in enumerate(compiled):
            ours, words = (
                template.render({**LABELS, "n": theirs.labels["n"]}, value),
                theirs.annotations.get(f"t{at}", ""),
            )
            if at == DURATION and abs(value) >= 2**63:
                continue  # what Go makes of it depends on the processor
            if ours != words and not (ours.startswith(FAILED) and words.startswith(FAILED)):
                wrong.append((value, template.text, ours, words))
    print(f"{len(TEMPLATES)} templates, {len(values)} values, {len(wrong)} differ")
    assert not wrong[:10]


@pytest.mark.parametrize("template", MALFORMED)
def test_a_malformed_template_is_refused_with_words(template: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ .*"):
        compile_template(template)


@pytest.mark.parametrize("template", WHOLE)
def test_what_needs_a_server_is_its_own_raw_text_and_says_why(template: str) -> None:
    compiled = compile_template(template)
    assert compiled.unsupported
    assert compiled.render(LABELS, 1) == template


@pytest.mark.servers
def test_promtool_refuses_what_we_refuse_and_takes_what_we_render_raw(tmp_path: Path) -> None:
    assert refused(tmp_path, [*MALFORMED, *WHOLE, *TEMPLATES]) == set(MALFORMED)


def some_row(draw: random.Random) -> str:
    """Tokens in a row, mostly inside one action."""
    words = [draw.choice(TOKENS) + draw.choice(("", " ", " ")) for _ in range(draw.randrange(1, 12))]
    inside = "".join(word for word in words[:6] if word[:2] not in ("{{", "}}", "-}"))
    return draw.choice(("".join(words), "{{ " + inside + "}}", "{{ if " + inside + "}}a{{ else }}b{{ end }}"))


def is_refused(template: str) -> bool:
    try:
        compile_template(template)
    except ValueError:
        return True
    return False


@pytest.mark.servers
def test_rows_of_tokens_are_refused_where_promtool_refuses_them(tmp_path: Path) -> None:
    draw = random.Random(4)
    rows = [some_row(draw) for _ in range(4000)]
    ours = {row for row in rows if is_refused(row)}
    assert 100 < len(ours) < 3900
    assert not sorted(ours ^ refused(tmp_path, rows))


def test_a_label_that_looks_like_a_template_is_only_text() -> None:
    assert render("{{ $labels.x }}", labels={"x": "{{ $value }}"}) == "{{ $value }}"


def test_a_rendering_that_fails_says_so_in_the_text() -> None:
    assert render("{{ humanize $labels.word }}").startswith("<error expanding template: ")


@pytest.mark.parametrize(
    "template",
    [
        '{{ $x := "0123456789" }}' + "{{ $x = printf `%s%s` $x $x }}" * 60 + "{{ $x }}",
        "{{ $x := `0123456789` }}" + "{{ $x = print $x $x $x }}" * 60,
        "{{ printf `%1000000d` 1 }}",
        "{{ printf `%.999999f` 1.0 }}",
        "{{ $x := `a` }}" + "{{ $x = reReplaceAll `.` `$0$0$0$0` $x }}" * 40,
    ],
)
def test_a_text_that_doubles_for_ever_ends_in_a_fault(template: str) -> None:
    assert render(template) == "<error expanding template: more than 65536 characters>"


def test_a_pattern_that_backtracking_cannot_end_is_quick() -> None:
    assert render("{{ match `(a*)*b` $labels.x }}", labels={"x": "a" * 50_000}) == "false"


def test_a_thousand_parentheses_are_refused() -> None:
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        compile_template("{{ " + "(" * 1000 + "1" + ")" * 1000 + " }}")


@given(st.text())
def test_any_text_compiles_or_is_refused_with_words(text: str) -> None:
    for template in (text, "{{" + text + "}}", "{{ if " + text + "}}a{{ end }}"):
        try:
            assert isinstance(compile_template(template).render(LABELS, 1), str)
        except ValueError as error:
            assert str(error)  # noqa: PT017  # it may pass, too


@given(st.lists(st.sampled_from([" ", *TOKENS]), max_size=25))
def test_any_row_of_tokens_compiles_or_is_refused_with_words(tokens: list[str]) -> None:
    try:
        assert isinstance(compile_template("".join(tokens)).render(LABELS, 1), str)
    except ValueError as error:
        assert str(error)  # noqa: PT017  # it may pass, too


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_a_text_survives_its_quotes(text: str) -> None:
    assert unquote(quote(text)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_shortest_digits_say_the_number(value: float) -> None:
    assert float(shortest(value)) == value
