// SPDX-License-Identifier: MIT
/* ticks.c: libsluice's clock for Ticks.java */
#include <jni.h>
#include <sluice/sluice.h>

JNIEXPORT jlong JNICALL Java_Ticks_now(JNIEnv *env, jclass class)
{
	return (jlong)sluice_ticks();
}

JNIEXPORT jlong JNICALL Java_Ticks_toNanos(JNIEnv *env, jclass class, jlong ticks)
{
	return (jlong)sluice_ticks_to_ns((uint64_t)ticks);
}
