/* Ids: drawn, and what may be one; the time by which they sort.
 * in: the clock, random numbers, names from outside. out: ids, verdicts. owns: nothing. */
#include "base/clock.h"
#include "control/control.h"
#include <sys/random.h>

int64_t control_now_ms(void) { return (int64_t)(clock_of(CLOCK_REALTIME) / 1000000); }

void control_new_id(char out[32]) {
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t random[16] = {0};
    uint64_t ms = (uint64_t)control_now_ms();
    /* Without random numbers (before Linux 3.17) two of one nanosecond would be equal: the store
     * refuses the second. */
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        uint64_t ns = clock_ns();
        memcpy(random, &ns, sizeof ns);
    }
    for (int i = 9; i >= 0; i--, ms >>= 5) out[i] = digits[ms & 31];
    for (int i = 0; i < 16; i++) out[10 + i] = digits[random[i] & 31];
    out[26] = 0;
}

const char *control_id_wrong(struct str id) {
    if (!id.len) return "it is empty";
    if (id.len >= CONTROL_ID_BYTES) return "it is longer than 127 bytes";
    if (*id.ptr == '.') return "it begins with a dot";
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i], lower = char_lower(c);
        if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
              (c && strchr("._~@:+-", c))))
            return "it has other characters than letters, digits and . _ ~ @ : + -";
    }
    return NULL;
}
