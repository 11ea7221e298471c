/* dnsstub: answers every DNS query on 127.0.0.1:53/udp at once with NXDOMAIN (PTR 127.0.0.1 = localhost,
 * A localhost = 127.0.0.1), so that no gateway's resolver waits for a name server that isn't there. But dN.many.test
 * is its own mail exchanger, at an address of its own: 127.100.0.0 + N. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(s, (void *)&a, sizeof a)) {
        perror("dnsstub");
        return 1;
    }
    unsigned char b[1500];
    for (;;) {
        struct sockaddr_in p;
        socklen_t l = sizeof p;
        ssize_t n = recvfrom(s, b, 1400, 0, (void *)&p, &l);
        if (n < 17)
            continue;
        size_t q = 12;
        while (q < (size_t)n && b[q])
            q += b[q] + 1;
        q++;
        if (q + 4 > (size_t)n)
            continue;
        int type = b[q] << 8 | b[q + 1];
        size_t e = q + 4;
        b[2] = 0x85;
        b[3] = 0x80;
        memset(b + 6, 0, 6);
        int ptr = type == 12 && e - 12 - 4 >= 24 &&
                  !memcmp(b + 12,
                          "\1"
                          "1\1"
                          "0\1"
                          "0\3"
                          "127",
                          10);
        int lo = b[12] == 9 && !memcmp(b + 13, "localhost", 9);
        int many = b[12] > 1 && b[12] < 9 && b[13] == 'd' && !memcmp(b + 13 + b[12], "\4many\4test", 11);
        if (many) {
            unsigned long at = 0x7f640000ul + strtoul((char *)b + 14, 0, 10);
            unsigned char r[] = {0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 0x0e, 0x10, 0, 4};
            unsigned char mx[] = {0, 10, 0xc0, 12}, ip[] = {at >> 24, at >> 16, at >> 8, at};
            b[3] = 0x80;
            if (type == 1 || type == 15) {
                b[7] = 1;
                memcpy(b + e, r, 12);
                memcpy(b + e + 12, type == 1 ? ip : mx, 4);
                e += 16;
            }
        } else if (ptr || (lo && type == 1)) {
            b[7] = 1;
            unsigned char r[] = {0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 0, 60, 0};
            memcpy(b + e, r, 11);
            e += 11;
            if (ptr) {
                memcpy(b + e, "\13\11localhost\0", 12);
                b[e] = 11;
                e += 12;
            } else {
                memcpy(b + e, "\4\177\0\0\1", 5);
                e += 5;
            }
        } else
            b[3] = lo ? 0x80 : 0x83;
        sendto(s, b, e, 0, (void *)&p, l);
    }
}
