package rule

import rego.v1

allow if input.role == "editor"
