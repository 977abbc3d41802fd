package shop_test

import data.shop

clerk := {"name": "ann", "roles": ["clerk"], "region": "{{REGION}}"}

test_clerk_in_region if shop.allow with input as {"user": clerk, "order": {"amount": 1}}

test_elsewhere if {
	not shop.allow with input as {"user": object.union(clerk, {"region": "moon"}), "order": {"amount": 1}}
}

test_large_order if {
	order := {"amount": shop.max_amount + 1}
	not shop.allow with input as {"user": clerk, "order": order}
}

test_manager_may if {
	user := object.union(clerk, {"roles": ["clerk", "manager"]})
	shop.allow with input as {"user": user, "order": {"amount": shop.max_amount + 1}}
}
