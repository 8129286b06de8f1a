# One row of the table, from the samples that samples.awk reads.
#
# kind=pair: the medians of sides `a` and `b` and the median of the rounds' ratios b : a, judged by
# `sense bound`; inconclusive where A/A pairs differ by more than 10 % (their median).
# kind=one: side `b` alone, its median, best, worst or 99th percentile judged.

function short(x) {
  if (x == 0) return "0"
  return x < 10 ? sprintf("%.2f", x) : x < 100 ? sprintf("%.1f", x) : sprintf("%.0f", x)
}
function spread(side,   n) {
  n = count[side]
  if (n == 0) return "-"
  sort_side(value, side, n)
  return short(middle(n)) " " unit (n == 1 ? "" : " (" short(sorted[1]) " to " short(sorted[n]) ")")
}
# Median difference between neighbours of one side, in percent: rounds 2 and 3 for the side that
# goes first, 1 and 2 for the other, and so on.
function same_side_percent(side, first,   i, n, x, y) {
  for (i = first; i < last_round; i += 2) {
    x = by_round[side, i]
    y = by_round[side, i + 1]
    if (x + y != 0) difference["d", ++n] = 200 * (x < y ? y - x : x - y) / (x + y)
  }
  if (n == 0) return -1
  sort_side(difference, "d", n)
  return middle(n)
}
# The smallest that 99 % do not exceed.
function rank99(n,   i) {
  i = int(n * 0.99)
  return sorted[i < n * 0.99 ? i + 1 : i]
}
function verdict(x) {
  if (sense == "") return ""
  if (unjudged) return "not judged"
  return (sense == "at-least" ? bound <= x : x <= bound) ? "met" : "**missed**"
}
function wanted_text(suffix) {
  return sense == "" ? "" : (sense == "at-least" ? "at least " : "at most ") bound suffix
}
function row(limit, odradek, ratio, wanted, same, client, judged) {
  printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", title, limit, odradek, ratio, wanted, same, client, judged
}
function client_text(   n, text) {
  if (busy_count[a] == 0 || busy_count[b] == 0) return ""
  n = busy_count[a]
  sort_side(busy, a, n)
  text = sprintf("%.0f %%", middle(n))
  n = busy_count[b]
  sort_side(busy, b, n)
  return text sprintf(", %.0f %%", middle(n))
}

END {
  bound += 0
  if (count[b] == 0) exit
  if (kind == "one") {
    odradek = spread(b)
    # The percentile itself; the median says nothing of it.
    if (pick == "p99") odradek = short(rank99(count[b])) " " unit
    x = pick == "best" ? sorted[1] : pick == "worst" ? sorted[count[b]] : pick == "p99" ? rank99(count[b]) : middle(count[b])
    row("", odradek, "", wanted_text(" " unit (pick == "median" ? "" : ", " pick)), "", "", verdict(x))
    exit
  }
  for (i = 1; i <= last_round; i++) {
    if (by_round[a, i] + 0 != 0) ratios["r", ++n] = by_round[b, i] / by_round[a, i]
  }
  if (n == 0) exit
  left = spread(a)
  right = spread(b)
  same_a = same_side_percent(a, 2)
  same_b = same_side_percent(b, 1)
  same = same_a < same_b ? same_b : same_a
  sort_side(ratios, "r", n)
  ratio = middle(n)
  ratio_text = n == 1 ? short(ratio) : short(ratio) " (" short(sorted[1]) " to " short(sorted[n]) ")"
  judged = n < 7 ? (sense == "" ? "" : "too few rounds") : verdict(ratio)
  if (7 <= n && 10 < same) judged = "inconclusive" (sense == "" ? "" : " (" judged ")")
  row(left, right, ratio_text, wanted_text(""), same < 0 ? "" : sprintf("%.0f %%", same), client_text(), judged)
}
