# The lines of one invoice become an order or, where the number begins with C, a cancellation.
# Lines that cannot be true are refused one by one; an invoice of which none is left is no event.

def gbp: {amount: ., currency: "GBP"};

def cancels: .InvoiceNo | startswith("C");

def fault:
  if (.UnitPrice | minor_units(2)) <= 0 then "the price is zero or less"
  elif (.Description | test("\\S") | not) then "the description is blank"
  elif (.Quantity | tonumber) < 0 and (cancels | not) then "the quantity is negative outside a cancellation"
  else null end;

def line: {
  sku: .StockCode,
  description: .Description,
  quantity: .Quantity | tonumber,
  price: .UnitPrice | minor_units(2) | gbp
};

(.[] | fault as $fault | select($fault) | {reject: $fault, row: .}),

(map(select(fault == null)) | select(length > 0) | .[0] as $first | {
  type: (if $first | cancels then "order.cancelled.v1" else "order.placed.v1" end),
  source: "/retail",
  subject: $first.InvoiceNo,
  time: $first.InvoiceDate | utc("Europe/London"),
  correlationid: "order-\($first.InvoiceNo)",
  data: {
    order: $first.InvoiceNo,
    lines: map(line),
    total: map((.UnitPrice | minor_units(2)) * (.Quantity | tonumber)) | add | gbp
  }
})
