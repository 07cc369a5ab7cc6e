"""The figures of the retail month, counted from the CSV files themselves and by none of the hub's code.

The rules, in this order: a line repeated to the letter counts once; a line with a price of zero or less, a blank
description, or a negative quantity outside the invoices with `C` is refused; the rest are grouped by invoice,
`C…` being cancellations. Money is exact, in pence. Large orders are those of 100.00 or more. By itself it prints the
figures as JSON:

    python3 tests/retail/figures.py FOLDER
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

LARGE_ORDER_PENCE = 100_00


@dataclass
class Figures:
    """What the rules leave. `orders` and `cancellations` are pence by invoice number, refunds negative."""

    repeats: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    orders: dict[str, int] = field(default_factory=dict)
    cancellations: dict[str, int] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)

    def large_orders(self) -> dict[str, int]:
        return {number: pence for number, pence in self.orders.items() if pence >= LARGE_ORDER_PENCE}

    def summary(self) -> dict[str, int]:
        return {
            "repeats": self.repeats,
            "refused": self.refused.total(),
            "orders": len(self.orders),
            "orders_pence": sum(self.orders.values()),
            "large_orders": len(self.large_orders()),
            "large_orders_pence": sum(self.large_orders().values()),
            "cancellations": len(self.cancellations),
            "cancellations_pence": sum(self.cancellations.values()),
        }


def reason_to_refuse(row: dict[str, str]) -> str | None:
    if Decimal(row["UnitPrice"]) <= 0:
        return "price"
    if not row["Description"].strip():
        return "description"
    if int(row["Quantity"]) < 0 and not row["InvoiceNo"].startswith("C"):
        return "quantity"
    return None


def pence(row: dict[str, str]) -> int:
    amount = Decimal(row["UnitPrice"]) * 100
    if amount != amount.to_integral_value():
        raise ValueError(f"a price finer than a penny: {row['UnitPrice']}")
    return int(amount) * int(row["Quantity"])


def count(files: list[Path]) -> Figures:
    """Reads the files in the order given and applies the rules."""
    figures = Figures()
    seen: set[tuple[str, ...]] = set()
    for file in files:
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                key = tuple(row.values())
                if key in seen:
                    figures.repeats += 1
                    continue
                seen.add(key)
                if reason := reason_to_refuse(row):
                    figures.refused[reason] += 1
                    continue
                invoice = row["InvoiceNo"]
                kind = figures.cancellations if invoice.startswith("C") else figures.orders
                kind[invoice] = kind.get(invoice, 0) + pence(row)
                figures.lines[invoice] += 1
    return figures


if __name__ == "__main__":
    print(json.dumps(count(sorted(Path(sys.argv[1]).glob("*.csv"))).summary(), indent=2))
