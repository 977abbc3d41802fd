/* Comparison builtins: == != < <= > >= over OPA's total order of all values.
 * in:  two values
 * out: booleans
 * owns: nothing */
#include "runtime/builtins/builtin.h"

RT_EXPORT value bi_equal(value a, value b) { return value_of_boolean(value_equal(a, b)); }
RT_EXPORT value bi_neq(value a, value b) { return value_of_boolean(!value_equal(a, b)); }
RT_EXPORT value bi_lt(value a, value b) { return value_of_boolean(value_compare(a, b) < 0); }
RT_EXPORT value bi_lte(value a, value b) { return value_of_boolean(value_compare(a, b) <= 0); }
RT_EXPORT value bi_gt(value a, value b) { return value_of_boolean(value_compare(a, b) > 0); }
RT_EXPORT value bi_gte(value a, value b) { return value_of_boolean(value_compare(a, b) >= 0); }
