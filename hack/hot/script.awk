# SPDX-License-Identifier: Apache-2.0
# The linker script of hack/hot/cc. Reads hack/hot/functions, `nm` beside `nm -C` and `readelf -r` of the object, and
# prints, for each function in that order, the constants it refers to and itself. Lines of functions that begin with
# `*` are of the C library: patterns of the linker as they are.
BEGIN { FS = "\t" }
FNR == 1 { file++ }

file == 1 { name[++last] = $0; place[$0] = last }

file == 2 {
	fields = split($1, symbol, " ")
	readable = $2
	sub(/^[0-9a-f]* . /, "", readable)
	if (fields == 3 && symbol[2] ~ /[tTwW]/ && readable in place) {
		at = place[readable]
		code = ".text." symbol[3]
		unlikely = ".text.unlikely." symbol[3]
		first[code] = first[unlikely] = at
		line[at] = line[at] " *(" code " " unlikely ")\n"
	}
}

# From here on, of which section: "Relocation section '.rela.text.name' at …".
file == 3 && /^Relocation section/ {
	from = $0
	sub(/^[^.]*\.rela/, "", from)
	sub(/\047.*/, "", from)
	follows = from in first || from ~ /^\.rodata/
	next
}
file == 3 && follows {
	split($0, field, " ")
	if (field[5] ~ /^\.rodata/ && field[5] != from) {
		source[++references] = from
		target[references] = field[5]
	}
}

END {
	# Constants refer to constants.
	do {
		changed = 0
		for (i = 1; i <= references; i++) {
			if (!(source[i] in first) || (target[i] in first && first[target[i]] <= first[source[i]]))
				continue
			if (!(target[i] in first))
				constant[++constants] = target[i]
			first[target[i]] = first[source[i]]
			changed = 1
		}
	} while (changed)
	for (i = 1; i <= constants; i++)
		before[first[constant[i]]] = before[first[constant[i]]] " *(" constant[i] ")\n"
	print "SECTIONS { .text.hot : {\n KEEP(*(SORT_NONE(.init))) KEEP(*(SORT_NONE(.fini)))"
	for (i = 1; i <= last; i++) {
		if (name[i] ~ /^\*/) {
			member = name[i]
			sub(/\(.*/, "", member)
			line[i] = " " name[i] " " member "(.rodata .rodata.*)\n"
		}
		printf "%s%s", before[i], line[i]
	}
	print "} } INSERT BEFORE .text;"
}
