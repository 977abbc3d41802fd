package t

import rego.v1

answer contains x if some x in [2, 1, 2]
