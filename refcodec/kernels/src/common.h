/* Shared by the kernels. */
#ifndef RFV_COMMON_H
#define RFV_COMMON_H

#include "rfv.h"

#if defined(__wasm__) && !__STDC_HOSTED__
void *memset(void *to, int value, size_t size); /* in wasm.c: there is no library */
void *memcpy(void *to, const void *from, size_t size);
#else
#include <string.h>
#endif

#if defined(__GNUC__)
#define RFV_INLINE static inline __attribute__((always_inline))
#define RFV_LIKELY(x) __builtin_expect(!!(x), 1)
#define RFV_UNLIKELY(x) __builtin_expect(!!(x), 0)
#elif defined(_MSC_VER)
#define RFV_INLINE static __forceinline
#define RFV_LIKELY(x) (x)
#define RFV_UNLIKELY(x) (x)
#else
#define RFV_INLINE static inline
#define RFV_LIKELY(x) (x)
#define RFV_UNLIKELY(x) (x)
#endif

/* Bounds that hold by construction, judged in every inner loop under the sanitizers and in tests only. */
#ifdef RFV_DEBUG
#include <assert.h>
#define RFV_ASSERT(x) assert(x)
#else
#define RFV_ASSERT(x) ((void)0)
#endif

#define RFV_MAX_INPUT 127
#define RFV_MAX_HIDDEN 1023
#define RFV_MAX_AXIS 4096 /* samples along an axis, of tensors (spec 4.4) */
#define RFV_MAX_LEVELS 6
#define RFV_TOTAL (1u << 24)
#define RFV_BUCKETS 256

/* Memory handed out front to back. With base NULL it is only counted. */
typedef struct {
    unsigned char *base;
    uint64_t used;
    uint64_t size;
    int failed;
} rfv_arena;

RFV_INLINE void *rfv_take(rfv_arena *arena, uint64_t count, uint64_t width)
{
    uint64_t bytes, at = arena->used;
    if (count > ((uint64_t)1 << 40) || width > 4096) {
        arena->failed = 1;
        return NULL;
    }
    bytes = (count * width + 15) & ~(uint64_t)15;
    arena->used = at + bytes;
    if (arena->used > arena->size || arena->used > (uint64_t)SIZE_MAX / 2) {
        arena->failed = 1;
        return NULL;
    }
    return arena->base != NULL ? arena->base + at : NULL;
}

RFV_INLINE rfv_arena rfv_counting(void)
{
    rfv_arena arena = {NULL, 0, UINT64_MAX, 0};
    return arena;
}

RFV_INLINE int64_t rfv_clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

RFV_INLINE int32_t rfv_clamp32(int64_t v)
{
    return (int32_t)rfv_clamp(v, INT32_MIN, INT32_MAX);
}

/* Samples of (z, y, x), 0 where one is out of range. */
RFV_INLINE int64_t rfv_volume(const int32_t size[3])
{
    int64_t n = 1;
    int axis;
    for (axis = 0; axis < 3; axis++) {
        if (size[axis] < 1 || size[axis] > RFV_MAX_AXIS) return 0;
        n *= size[axis];
    }
    return n;
}

#endif
