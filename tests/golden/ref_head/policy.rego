package t

roles[user].level := n if some user, n in input.levels

roles.root.level := 9
