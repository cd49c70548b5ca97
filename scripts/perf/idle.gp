# SPDX-License-Identifier: MIT
# idle.gp: processor time of who waits for nothing. Expects data, name (path of the plots without
# .svg and .png).

set title "Processor time while nothing comes" noenhanced
set ylabel "% of a processor" noenhanced
set style data histogram
set style fill solid 0.8 border -1
set boxwidth 0.8
set yrange [0:]
set grid ytics linetype 1 linecolor rgb "#dddddd"
set border 3
set tics nomirror
set xtics rotate by -35 noenhanced
set datafile separator "\t"
unset key

do for [terminal in "svg png"] {
	if (terminal eq "svg") {
		set terminal svg size 900,520 font "sans-serif,13" background "white"
	} else {
		set terminal pngcairo size 1350,780 fontscale 1.4 background "white"
	}
	set output name . "." . terminal
	plot data using 2:xtic(1) lc 1
}
