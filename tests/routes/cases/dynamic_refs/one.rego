package pkgs.one

value := 1
