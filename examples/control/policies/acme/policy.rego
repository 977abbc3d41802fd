# Acme closes its shop while it counts its stock.
package custom

reasons contains "stock is being counted" if {
	data.counting
	input.order
}
