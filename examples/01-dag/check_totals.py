"""Adds up the orders in a CSV file and hands the revenue on as an output."""

import csv
import json
import os
import sys
from pathlib import Path

with Path(sys.argv[1]).open(newline="") as file:
    orders = list(csv.DictReader(file))

cents = 0
for number, order in enumerate(orders, start=1):
    cents += int(order["cents"])
    if number % 100 == 0:
        print(f"{number} orders, {cents / 100:.2f} so far", flush=True)

if any(int(order["cents"]) <= 0 for order in orders):
    sys.exit("an order costs nothing")

with Path(os.environ["CADENZA_OUTPUT"]).open("a") as outputs:
    print(json.dumps({"revenue": f"{cents / 100:.2f}", "orders": len(orders)}), file=outputs)
