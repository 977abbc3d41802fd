# Roles of users.
package common

has_role(user, role) if role in user.roles

# A manager may do what a clerk may.
has_role(user, "clerk") if "manager" in user.roles
