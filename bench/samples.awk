# What both tables are made from: samples of the form CASE SIDE ROUND NAME VALUE, tab-separated.
#
# Of the wanted case: `value` by side and number, `by_round` by side and round, and how busy the
# client was.

$1 == wanted_case && $4 == metric {
  count[$2]++
  value[$2, count[$2]] = $5
  by_round[$2, $3] = $5
  if (last_round < $3 + 0) last_round = $3 + 0
}
$1 == wanted_case && $4 == "client_busy" {
  busy_count[$2]++
  busy[$2, busy_count[$2]] = $5
}

# Sorts n values of `from[side, i]` into `sorted`.
function sort_side(from, side, n,   i, j, held) {
  for (i = 1; i <= n; i++) {
    held = from[side, i] + 0
    for (j = i - 1; 1 <= j && held < sorted[j]; j--) sorted[j + 1] = sorted[j]
    sorted[j + 1] = held
  }
}
function middle(n) {
  return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
