# Orders of a shop: its staff may place them in the shop's own region, up to an amount.
package shop

import data.common
import data.utils

default allow := false

max_amount := to_number("{{MAX_AMOUNT}}")

allow if count(reasons) == 0

reasons contains "not a member of the staff" if not common.has_role(input.user, "clerk")

reasons contains "the shop is in {{REGION}}" if input.user.region != "{{REGION}}"

reasons contains sprintf("orders above %s need a manager", [utils.money(max_amount, "{{CURRENCY}}")]) if {
	input.order.amount > max_amount
	not common.has_role(input.user, "manager")
}

# What a tenant's own files add (package custom), if it has any.
reasons contains reason if some reason in data.custom.reasons

# Users whom a tenant's data name.
reasons contains "the user is blocked" if input.user.name in data.blocked
