# SPDX-License-Identifier: MIT
# pipeline.gp: completion of n messages. Expects data (file of sluice-perf pipeline --plot-file)
# and name (path of the plots without .svg and .png).

set title "Completion of n messages" noenhanced
set xlabel "messages"
set ylabel "seconds"
set xrange [0:*]
set yrange [0:*]
set grid xtics ytics linetype 1 linecolor rgb "#dddddd"
set key left top noenhanced
set border 3
set tics nomirror

do for [terminal in "svg png"] {
	if (terminal eq "svg") {
		set terminal svg size 900,520 font "sans-serif,13" background "white"
	} else {
		set terminal pngcairo size 1350,780 fontscale 1.4 background "white"
	}
	set output name . "." . terminal
	plot data using 1:4 with lines lw 2 lc 2 title "synchronously, predicted", \
		data using 1:5 with points pt 7 ps 1 lc 2 title "synchronously, measured", \
		data using 1:2 with lines lw 2 lc 1 title "asynchronously, predicted", \
		data using 1:3 with points pt 7 ps 1 lc 1 title "asynchronously, measured"
}
