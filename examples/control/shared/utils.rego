# Texts for people.
package utils

money(amount, currency) := sprintf("%d %s", [amount, currency])
