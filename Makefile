# The project's verbs. Each first makes sure that the machine has what it takes; see `setup`.
# Variables such as IOMMU=none, BOARD and CONFIG reach xtask through the environment; `cargo xtask help` lists them.
# image and run-image are for seL4: MICROKIT_SDK names Microkit's SDK; docs/microkit.md says more.

.PHONY: run run-image test check fuzz image bench bench-compare setup

run run-image image bench bench-compare:
	@sh ./setup cargo xtask $@ $(ARGS)

test:
	@sh ./setup --tests cargo xtask $@ $(ARGS)

check:
	@sh ./setup --lints cargo xtask $@ $(ARGS)

fuzz:
	@sh ./setup --fuzz cargo xtask $@ $(ARGS)

setup:
	@sh ./setup --lints --tests
