# The project's verbs. Each first makes sure that the machine has what it takes; see `setup`.
# Variables such as IOMMU=none, BOARD and CONFIG reach xtask through the environment; `cargo xtask help` lists them.

.PHONY: run test check image bench setup

run test image bench:
	@sh ./setup cargo xtask $@ $(ARGS)

check:
	@sh ./setup --lints cargo xtask $@ $(ARGS)

setup:
	@sh ./setup --lints
