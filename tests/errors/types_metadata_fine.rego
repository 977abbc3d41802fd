# METADATA
# title: all is well
# authors:
# - A Person <a@example.org>
# - name: B
# organizations:
# - org
# related_resources:
# - https://example.org/x
# - ref: https://example.org/y
#   description: d
# custom:
#   k: [1, two, {three: 4}]
package test

# METADATA
# entrypoint: true
entry := 1

# METADATA
# title: t
p := rego.metadata.rule().title

q := rego.metadata.chain()[0].path
