"""A comparison as one HTML page that needs nothing else: no script, no request, and all numbers in tables too."""

from __future__ import annotations

from html import escape
from math import isnan
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from optimizer.clock import from_us
from simulator.comparison import pictures
from simulator.comparison.numbers import Digits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.comparison.results import Comparison, PolicyResult

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
body { color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .6rem; text-align: right; vertical-align: bottom; white-space: nowrap; }
th, td { border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, .text { text-align: left; }
.text { white-space: normal; min-width: 12rem; }
.scroll { overflow-x: auto; }
tr.campaign td:first-child { font-weight: 700; }
figure { margin: 1rem 0; background: #fff; border-radius: 6px; padding: .25rem; }
svg { width: 100%; max-width: 46rem; height: auto; }
.answer { border-left: 4px solid #0072b2; padding: .2rem 1rem; font-size: 1.05rem; }
.refused { border-left: 4px solid #d55e00; padding: .2rem 1rem; }
.quiet { color: #555; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #161616; }
  th, td { border-color: #444; }
  .quiet { color: #aaa; }
}
"""


def page(comparison: Comparison) -> str:
    """The whole page."""
    log, digits = comparison.log, Digits.of(comparison)
    title = f"Policies compared on {escape(PurePath(log.path).name)}"
    body = "\n".join(
        [
            f"<h1>{title}</h1>",
            *_answer(comparison, digits),
            *_ranking(comparison, digits),
            *_lifts(comparison, digits),
            *_over_time(comparison, digits),
            *_agreement(comparison, digits),
            *_refused(comparison),
            *_audit(comparison),
            *_log(comparison),
            *_method(comparison),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _answer(comparison: Comparison, digits: Digits) -> Iterator[str]:
    """What a reader in a hurry has to know."""
    judged = comparison.judged
    if not judged:
        yield '<p class="answer">None of these policies can be judged on this log.</p>'
        return
    if not comparison.audit.holds:
        yield f'<p class="refused">The log\'s propensities: {escape(comparison.audit.told)}</p>'
    best = judged[0]
    found = best.by(comparison.method.estimator)
    words = [f"<strong>{escape(best.name)}</strong> comes first, with {digits.number(found.value)} a decision"]
    if not isnan(found.low):
        words.append(f" ({digits.span(found)})")
    words.append(". ")
    if best.verdict == "better":
        words.append("It is better than the logged policy. ")
    elif best.verdict is not None:
        words.append("Whether it is better than the logged policy is not known from this log. ")
    if comparison.steps:
        step = comparison.steps[0]
        sure = step.lift.low > 0.0
        words.append(
            f"It is {'better than' if sure else 'not told apart from'} the next one, {escape(step.worse)}: "
            f"the difference is {digits.number(step.lift.value)} ({digits.span(step.lift, signed=True)})."
        )
    yield f'<p class="answer">{"".join(words)}</p>'
    for each in judged:
        if each.kind in {"campaign", "table"} and each is not best:
            ahead = comparison.policies[0]
            yield (
                f'<p class="answer"><strong>{escape(each.name)}</strong> is number {each.rank}: no gain over '
                f"{escape(ahead.name)} is to be claimed for it.</p>"
            )


def _ranking(comparison: Comparison, digits: Digits) -> Iterator[str]:
    if not comparison.judged:
        return
    yield "<h2>What each policy would have earned</h2>"
    yield f"<figure>{pictures.values(comparison)}</figure>"
    head = ("policy", "value", "interval", "effective rows", "heaviest weight", "matched rows", "to be known")
    rows = []
    for each in comparison.judged:
        found = each.by(comparison.method.estimator)
        cells = [
            digits.number(found.value),
            digits.span(found),
            f"{found.effective:,.0f}",
            f"{found.largest_weight:.3g}",
            f"{found.matched:.1%}",
            "; ".join([*found.warnings, *each.notes]),
        ]
        rows.append((each, cells))
    yield _table(head, rows)


def _lifts(comparison: Comparison, digits: Digits) -> Iterator[str]:
    if len(comparison.judged) < 2:  # noqa: PLR2004 - a difference takes two
        return
    method = comparison.method
    yield "<h2>How much better than the logged policy</h2>"
    yield (
        f"<p>On the same rows, so that what two policies do alike cancels out. Verdicts hold for all "
        f"{method.comparisons} comparisons at once with {method.confidence:.0%}; intervals for each by itself.</p>"
    )
    yield f"<figure>{pictures.lifts(comparison)}</figure>"
    rows = [
        (each, [digits.number(each.lift.value), digits.span(each.lift, signed=True), each.verdict or ""])
        for each in comparison.judged
        if each.lift is not None
    ]
    yield _table(("policy", "difference", "interval", "better?"), rows)
    yield "<h2>From each rank to the next</h2>"
    head = ("better", "than", "by", "interval")
    cells = [
        "<tr>"
        + "".join(
            f"<td>{escape(c)}</td>"
            for c in (s.better, s.worse, digits.number(s.lift.value), digits.span(s.lift, signed=True))
        )
        + "</tr>"
        for s in comparison.steps
    ]
    yield _raw_table(head, cells)


def _over_time(comparison: Comparison, digits: Digits) -> Iterator[str]:
    judged = comparison.judged
    if not judged or len(judged[0].over_time) < 2:  # noqa: PLR2004 - a line takes two points
        return
    yield "<h2>Over the log</h2>"
    yield (
        "<p>A campaign's policy learns on its way: its line is what it had earned so far, the beginning, when it knew "
        "nothing, included. Each interval holds at its own place, not at all places at once.</p>"
    )
    yield f"<figure>{pictures.over_time(comparison)}</figure>"
    moments = judged[0].over_time
    head = ("policy", *(f"to row {moment.rows:,}" for moment in moments))
    rows = [(each, [digits.number(m.here.value) for m in each.over_time]) for each in pictures.shown(comparison)]
    yield "<p>Stretch by stretch, each by itself:</p>"
    yield _table(head, rows)
    always = [
        (each, [digits.span(each.over_time[-1].always), digits.span(each.lift_always, signed=True)])
        for each in judged
        if each.over_time[-1].always is not None
    ]
    if always:
        yield (
            "<p>Intervals that hold at every row of the log at once, whenever one looks, also where the policy that "
            "made the log was learning from it (confidence sequences of weighted rewards, each policy by itself):</p>"
        )
        yield _table(("policy", "value", "less the logged one"), always)


def _agreement(comparison: Comparison, digits: Digits) -> Iterator[str]:
    if not comparison.judged:
        return
    yield "<h2>Do the estimators agree?</h2>"
    yield (
        "<p>Where they do not, the log says little of that policy, or its propensities or the reward model are off. "
        "The direct method (dm) is the model's word alone, and its interval knows nothing of the model's error.</p>"
    )
    yield f"<figure>{pictures.agreement(comparison)}</figure>"
    names = comparison.method.estimators
    rows = [
        (each, [f"{digits.number(each.by(n).value)} ({digits.span(each.by(n))})" for n in names])
        for each in comparison.judged
    ]
    yield _table(("policy", *names), rows)


def _refused(comparison: Comparison) -> Iterator[str]:
    if not comparison.refused:
        return
    yield "<h2>What this log cannot tell</h2>"
    for each in comparison.refused:
        more = f'<br><span class="quiet">{escape("; ".join(each.notes))}</span>' if each.notes else ""
        yield f'<p class="refused">{escape(str(each.refusal))}.{more}</p>'


def _audit(comparison: Comparison) -> Iterator[str]:
    audit = comparison.audit
    yield "<h2>Can the propensities be right?</h2>"
    yield f"<p>{escape(audit.told)}</p>"
    head = ("where", "arm", "by", "found", "expected", "z", "")
    rows = [
        f"<tr><td>{escape(each.what)}</td><td>{escape(each.arm or 'all')}</td><td>{each.by}</td>"
        f"<td>{each.found:,.1f}</td><td>{each.expected:,.1f}</td><td>{each.z:+.2f}</td>"
        f"<td>{'too far' if each.flagged else ''}</td></tr>"
        for each in audit.worst
    ]
    yield _raw_table(head, rows)


def _log(comparison: Comparison) -> Iterator[str]:
    log = comparison.log
    yield "<h2>The log</h2>"
    facts = [f"{log.path}: {log.rows:,} decisions judged"]
    if log.customers is not None:
        facts.append(f"of {log.customers:,} customers, who are the units of all intervals")
    if log.from_us is not None and log.until_us is not None:
        facts.append(f"from {from_us(log.from_us):%Y-%m-%d %H:%M} to {from_us(log.until_us):%Y-%m-%d %H:%M} UTC")
    facts.append(f"smallest propensity {log.least_propensity:.3g}")
    yield f"<p>{escape(', '.join(facts))}.</p>"
    passed = [f"{rows:,} x {kind}" for kind, rows in log.passed.items()]
    yield (
        f"<p>Read: {log.taken:,} rows taken, {log.rejected:,} rejected"
        + (f", kept in {escape(log.rejects)}" if log.rejects else "")
        + (f"; passed over, as they are no decisions: {escape(', '.join(passed))}" if passed else "")
        + ".</p>"
    )
    if log.problems:
        yield "<ul>" + "".join(f"<li>{escape(problem)}</li>" for problem in log.problems) + "</ul>"
    rows = [f"<tr><td>{escape(arm)}</td><td>{n:,}</td><td>{n / log.rows:.2%}</td></tr>" for arm, n in log.arms.items()]
    drawn = _raw_table(("arm", "drawn", "share"), rows)
    yield f"<details><summary>Its {len(log.arms):,} arms</summary>{drawn}</details>"


def _method(comparison: Comparison) -> Iterator[str]:
    method = comparison.method
    model = f"; reward model: {method.model}, cross-fitted by customer" if method.model else ""
    yield "<h2>How it was judged</h2>"
    yield (
        f"<p>Ranked by {escape(method.estimator)}; intervals: {escape(method.interval)}, {method.confidence:.0%}"
        f"{escape(model)}. The logged policy is judged by its own rewards. An arm that is always chosen is replaced by "
        "no_send where it was no candidate, if the log has no_send.</p>"
        f"<p>Campaign policies were taken through the log in its order and published what they had learned after every "
        f"{method.publish_every:,} decisions; a reward was learned only after its close. They chose among the log's "
        "candidates: contact rules were asked when the log was made and are not asked again. Histories are those of "
        "the log: what would have followed from other choices earlier is not in it.</p>"
    )


def _table(head: Sequence[str], rows: Sequence[tuple[PolicyResult, Sequence[str]]]) -> str:
    last = head[-1] == "to be known"
    made = []
    for each, cells in rows:
        name = f"<td>{escape(each.name)}</td>"
        values = [f"<td>{escape(cell)}</td>" for cell in cells]
        if last:
            values[-1] = values[-1].replace("<td>", '<td class="text">')
        made.append(f'<tr class="{each.kind}">{name}{"".join(values)}</tr>')
    return _raw_table(head, made)


def _raw_table(head: Sequence[str], rows: Sequence[str]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'
