# SPDX-License-Identifier: MIT
# Rate and latency over the linger, flat out and paced: gnuplot -e "data='F'; name='N'" batch.gp
set datafile separator "\t"
set grid ytics
set xlabel "linger, microseconds"
set xtics ("0" 0, "10" 1, "100" 2, "1000" 3)
set xrange [-0.3:3.3]
set key above
draw = "set multiplot layout 1,2; \
	set title 'as fast as they can'; set ylabel 'messages a second, times those without'; set yrange [0:*]; \
	plot data index 0 using 0:2 with linespoints title 'the producer gathers', \
	     '' index 0 using 0:5 with linespoints title 'the consumer waits'; \
	set title 'paced'; set ylabel 'latency, microseconds'; set yrange [*:*]; set logscale y; \
	plot data index 1 using 0:3 with linespoints title 'producer, p50', \
	     '' index 1 using 0:4 with linespoints title 'producer, p99', \
	     '' index 1 using 0:6 with linespoints title 'consumer, p50', \
	     '' index 1 using 0:7 with linespoints title 'consumer, p99'; \
	unset logscale y; unset multiplot"
set terminal svg size 1000,440 dynamic background rgb "white"
set output name.".svg"
eval draw
set terminal pngcairo size 1000,440
set output name.".png"
eval draw
