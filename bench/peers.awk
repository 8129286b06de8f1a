# One row of the table of `bench/run peers`, from the samples that samples.awk reads.
#
# `sides` in the order of the columns; `goals`: "SIDE SENSE BOUND;" each, on the median of the
# rounds' ratios odradek : SIDE, or on odradek's own median. With fewer than seven rounds no ratio
# is judged; where neighbouring rounds of one side differ by more than 10 % (their median), the
# verdict on ratios is "inconclusive".

function short(x) {
  if (x == 0) return "0"
  return x < 0.1 ? sprintf("%.4f", x) : x < 10 ? sprintf("%.2f", x) : x < 100 ? sprintf("%.1f", x) : sprintf("%.0f", x)
}
function spread(side,   n) {
  n = count[side]
  if (n == 0) return "-"
  sort_side(value, side, n)
  return short(middle(n)) (unit == "" ? "" : " " unit) (n == 1 ? "" : " (" short(sorted[1]) " to " short(sorted[n]) ")")
}
# The largest of the sides' median differences between a round and the next, in percent.
function same_sides_percent(   s, i, n, x, y, worst) {
  worst = -1
  for (s = 1; s <= side_count; s++) {
    n = 0
    for (i = 1; i < last_round; i++) {
      x = by_round[side_name[s], i]
      y = by_round[side_name[s], i + 1]
      if (x != "" && y != "" && x + y != 0) difference["d", ++n] = 200 * (x < y ? y - x : x - y) / (x + y)
    }
    if (n == 0) continue
    sort_side(difference, "d", n)
    # Sides that no goal is about may waver.
    if (side_name[s] != "odradek" && !(side_name[s] in sense)) continue
    if (worst < middle(n)) worst = middle(n)
  }
  return worst
}
function holds(x, side) {
  return sense[side] == "at-least" ? bound[side] <= x : x <= bound[side]
}
function ratio_text(side,   i, n, text) {
  n = 0
  for (i = 1; i <= last_round; i++) {
    if (by_round[side, i] + 0 != 0 && by_round["odradek", i] != "") {
      ratios["r", ++n] = by_round["odradek", i] / by_round[side, i]
    }
  }
  if (n == 0) return side in sense ? "-, " wanted_text(side) : ""
  sort_side(ratios, "r", n)
  text = short(middle(n)) (n == 1 ? "" : " (" short(sorted[1]) " to " short(sorted[n]) ")")
  if (side in sense) {
    text = text ", " wanted_text(side)
    judge(side, n, middle(n))
  }
  return text
}
function wanted_text(side) {
  return (sense[side] == "at-least" ? "at least " : "at most ") bound[side]
}
function judge(side, n, x) {
  goal_count++
  if (n < 7 && side != "odradek") few = 1
  else if (!holds(x, side)) missed = missed (missed == "" ? "" : ", ") (side == "odradek" ? "itself" : label[side])
}
function verdict() {
  if (goals == "") return ""
  if (unjudged) return "not judged"
  if (count["odradek"] == 0) return "**missed**: no figures"
  if (few && missed == "") return "too few rounds"
  if (10 < same && last_round != 1) return "inconclusive (" (missed == "" ? "met" : "missed: " missed) ")"
  return missed == "" ? "met" : "**missed**: " missed
}
function busy_text(   s, n, low, high) {
  low = 1e9
  high = -1
  for (s = 1; s <= side_count; s++) {
    n = busy_count[side_name[s]]
    if (n == 0) continue
    sort_side(busy, side_name[s], n)
    if (middle(n) < low) low = middle(n)
    if (high < middle(n)) high = middle(n)
  }
  return high < 0 ? "" : sprintf("%.0f to %.0f %%", low, high)
}

END {
  side_count = split(sides, side_name, " ")
  label["bare"] = "bare"
  label["kafka"] = "Kafka"
  label["kafka-synced"] = "Kafka, synced"
  goal_words = split(goals, goal, ";")
  for (i = 1; i <= goal_words; i++) {
    if (split(goal[i], word, " ") == 3) {
      sense[word[1]] = word[2]
      bound[word[1]] = word[3] + 0
    }
  }
  row = "| " title (("odradek" in sense) ? ", " wanted_text("odradek") : "") " |"
  for (i = 1; i <= side_count; i++) row = row " " spread(side_name[i]) " |"
  same = same_sides_percent()
  if (("odradek" in sense) && 0 < count["odradek"]) {
    sort_side(value, "odradek", count["odradek"])
    judge("odradek", count["odradek"], middle(count["odradek"]))
  }
  row = row " " ratio_text("bare") " | " ratio_text("kafka") " | " ratio_text("kafka-synced") " |"
  row = row " " (same < 0 ? "" : sprintf("%.0f %%", same)) " | " busy_text() " | " verdict() " |"
  print row
}
