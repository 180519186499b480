"""Whose turn it is, and what perf/bench has measured as the tables of perf/RESULTS.md."""
import math
import re
import statistics

OURS = "weir, io_uring"
BEGIN, END = "<!-- bench: from here on written by `make bench` -->", "<!-- bench: up to here -->"

def in_turn(n, count):
    """The order of round n: over count or 2 * count rounds each server comes after each other equally often."""
    order = [(n + (-(i // 2) if i % 2 == 0 else i // 2 + 1)) % count for i in range(count)]
    return order[::-1] if n // count % 2 else order

def interval(values):
    """Two of the values, six or more: the median of what they were drawn from lies between them with 95% confidence."""
    count, rank, outside = len(values), 0, 1 / 2 ** len(values)
    while outside <= 0.025:
        rank += 1
        outside += math.comb(count, rank) / 2 ** count
    return sorted(values)[rank - 1], sorted(values)[-rank]

def summary(said, first_said):
    """Of what load said in several rounds, of a server and of the first, what it says of a comparison."""
    keys = ("messages_per_s", "p50_us", "p99_us", "cpu_us_per_message")
    got = {key: statistics.median(one[key] for one in said) for key in keys}
    ratios = [a["cpu_us_per_message"] / b["cpu_us_per_message"] for a, b in zip(said, first_said)]
    got["ratio"], (got["ratio_low"], got["ratio_high"]) = statistics.median(ratios), interval(ratios)
    ratios = [a["p99_us"] / b["p99_us"] for a, b in zip(said, first_said)]
    got["p99_ratio"], (got["p99_low"], got["p99_high"]) = statistics.median(ratios), interval(ratios)
    return got

def amount(value):
    """Three digits, or as many as stand before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

def bold(text, lost):
    return f"**{text}**" if lost else text

def table(title, note, head, rows):
    """head and rows: lists of cells. Result: Markdown."""
    lines = [f"### {title}", "", note, "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"

def lost(name, row):
    """What weir loses, to the digits that are shown: to a peer that takes less than weir on io_uring; on epoll, if it
    takes more than the first."""
    if name == OURS or OURS not in row:
        return False
    shown = round(row[name]["ratio"], 2)
    return shown > 1 if name.startswith("weir") else shown < round(row[OURS]["ratio"], 2)

def ratio(got):
    """A server's result beside the first one's, as a cell: the median, and where it lies with 95% confidence."""
    return f"{got['ratio']:.2f} ({got['ratio_low']:.2f} to {got['ratio_high']:.2f})"

def first(got):
    return f"1 ({amount(got['cpu_us_per_message'])} us, {amount(got['messages_per_s'])}/s)"

def rated(got):
    """As ratio, with how many there were in a second."""
    return f"{ratio(got)}, {amount(got['messages_per_s'])}/s"

def tail(got, first):
    """What latency is in an open loop, as a cell. A loss is what is slower than the first with 95% confidence."""
    text = f"{amount(got['p50_us'])}, {amount(got['p99_us'])}"
    if not first:
        text += f"; {got['p99_ratio']:.2f} ({got['p99_low']:.2f} to {got['p99_high']:.2f})"
    return bold(text, round(got["p99_low"], 2) > 1)

def idle(name, row):
    """What an idle connection takes, as a cell. A peer that takes less than weir on io_uring is a loss."""
    if name not in row:
        return "-"
    size = row[name]["idle_bytes_each"]
    ours = row[OURS]["idle_bytes_each"] if OURS in row else 0
    return bold(f"{size:,.0f}", not name.startswith("weir") and size < ours)

def matrix(title, note, results, lost, cell=ratio):
    """results: for each row its name and {server: what load said}, of which the first is what the others are measured
    by; lost(server, row): it is a loss of weir's; cell(what load said): as text."""
    names = list(dict.fromkeys(name for _, row in results for name in row))
    rows = []
    for title_of_row, row in results:
        base = next(iter(row))
        cells = ["-" if name not in row else first(row[name]) if name == base else cell(row[name]) for name in names]
        rows.append([title_of_row] + [bold(cell, name in row and lost(name, row)) for name, cell in zip(names, cells)])
    return table(title, note, ["workload", *names], rows)

def put(text, tables):
    """text with what stands between the marks replaced, and all else as it was; without marks, they are added."""
    between = f"{BEGIN}\n\n{tables.rstrip()}\n\n{END}"
    if BEGIN not in text and END not in text:
        return f"{text.rstrip()}\n\n{between}\n"
    found = re.search(re.escape(BEGIN) + ".*?" + re.escape(END), text, re.S)
    if not found or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError("the marks of perf/RESULTS.md do not come in one pair")
    return text[:found.start()] + between + text[found.end():]
