#!/bin/sh
# Stands for a test: says what it would test, and fails without a token.
test -n "$SHOP_TOKEN" || { echo "no token" >&2; exit 1; }
echo "checking $SHOP_URL with a token of ${#SHOP_TOKEN} characters: $SHOP_TOKEN"
echo '{"checked": "'"$SHOP_URL"'"}' >> "$CADENZA_OUTPUT"
