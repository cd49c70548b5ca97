# SPDX-License-Identifier: MIT
# model.gp: tokens a second by program. Expects data (file of model_plot.py) and name (path of
# the plots without .svg and .png).

set style data histogram
set style histogram errorbars gap 1 linewidth 1
set style fill solid 0.8 border -1
set boxwidth 0.6
set yrange [0:1<*]
set ylabel "tokens a second"
set grid ytics linetype 1 linecolor rgb "#dddddd"
set border 3
set tics nomirror
unset key

do for [terminal in "svg png"] {
	if (terminal eq "svg") {
		set terminal svg size 1200,420 font "sans-serif,13" background "white"
	} else {
		set terminal pngcairo size 1800,630 fontscale 1.4 background "white"
	}
	set output name . "." . terminal
	set multiplot layout 1,3
	set title "Decoding, one stream"
	plot data using 2:3:4:xtic(1) every ::1 linecolor 1
	set title "Decoding, several streams at once"
	plot data using 5:6:7:xtic(1) every ::1 linecolor 3
	set title "Prefill"
	plot data using 8:9:10:xtic(1) every ::1 linecolor 2
	unset multiplot
}
