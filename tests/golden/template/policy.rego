package t

allow if input.role == "{{ROLE}}"

scope := "{{SCOPE}}"
