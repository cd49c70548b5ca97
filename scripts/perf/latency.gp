# SPDX-License-Identifier: MIT
# latency.gp: distribution of round trips. Expects data (file of sluice-perf latency --plot-file)
# and name (path of the plots without .svg and .png).

stats data using 1 nooutput
rows = STATS_blocks
longest = STATS_max

set title "Distribution of round-trip times" noenhanced
set xlabel "percentile"
set logscale xy
set xrange [1:longest]
set xtics ("0" 1, "50" 2, "90" 10, "99" 100, "99.9" 1000, "99.99" 10000, "99.999" 100000, \
	"99.9999" 1000000)
set format y "%.0s %cs"
set ylabel "round trip"
set grid xtics ytics linetype 1 linecolor rgb "#dddddd"
set key outside right center noenhanced
set border 3
set tics nomirror

do for [terminal in "svg png"] {
	if (terminal eq "svg") {
		set terminal svg size 900,520 font "sans-serif,13" background "white"
	} else {
		set terminal pngcairo size 1350,780 fontscale 1.4 background "white"
	}
	set output name . "." . terminal
	plot for [i = 0:rows - 1] data index i using 1:($2 * 1e-9) with lines lw 2 lc i + 1 \
		title columnheader(1)
}
