# METADATA
# title: The package
# custom:
#   level: 3
package t

# METADATA
# title: The answer
# description: names itself
# entrypoint: true
answer := {"rule": rego.metadata.rule(), "titles": [link.annotations.title | some link in rego.metadata.chain()]}
