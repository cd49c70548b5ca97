# SPDX-License-Identifier: MIT
# series.gp: curves of sluice-perf --plot-file. Expects data, name (path of the plots without .svg and
# .png), head, xname, yname, and logs: which axes are logarithmic ("", "x", "y", "xy").

stats data using 1 nooutput
curves = STATS_blocks

set title head noenhanced
set xlabel xname noenhanced
set ylabel yname noenhanced
if (logs ne "") { eval "set logscale " . logs }
set format x "%.0s%c"
set format y "%.0s%c"
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
	plot for [i = 0:curves - 1] data index i using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc i + 1 \
		title columnheader(1)
}
