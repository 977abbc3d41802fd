package pkgs.two

value := {"n": count(input.letters)}
