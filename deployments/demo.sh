#!/bin/sh
# What `make demo` runs until reference scoring is there: a script that says where it ran and computes one small thing.
set -eu
echo "host: $(uname -n)"
echo "arguments: $#"
sum=0
for number in "$@"; do sum=$((sum + number)); done
echo "sum: $sum"
