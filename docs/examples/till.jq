# The lines of one receipt of a shop's till become an order; a line without a price becomes none.
# Run with: --group-by receipt --distinct
(.[] | select(.price == "0.00") | {reject: "the line has no price", row: .}),
(map(select(.price != "0.00"))
  | select(length > 0)
  | map({
      sku,
      description: .item,
      quantity: (.quantity | tonumber),
      price: {amount: (.price | minor_units(2)), currency: "GBP"}
    }) as $lines
  | {
      source: "/examples/till",
      type: "order.placed.v1",
      subject: .[0].receipt,
      correlationid: .[0].receipt,
      time: (.[0].sold_at | utc("Europe/London")),
      data: {
        order: .[0].receipt,
        lines: $lines,
        total: {amount: ($lines | map(.quantity * .price.amount) | add), currency: "GBP"},
        channel: "store"
      }
    })
