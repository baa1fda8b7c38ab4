package com.example.greeting

import org.junit.jupiter.api.Test
import org.springframework.beans.factory.annotation.Autowired
import org.springframework.boot.test.context.SpringBootTest
import org.springframework.boot.webmvc.test.autoconfigure.AutoConfigureMockMvc
import org.springframework.test.web.servlet.MockMvc
import org.springframework.test.web.servlet.get

@SpringBootTest
@AutoConfigureMockMvc
class ApplicationTest(@Autowired private val http: MockMvc) {
    @Test
    fun `greets with the host and the version that answered`() {
        http.get("/").andExpect {
            status { isOk() }
            jsonPath("$.message") { value("Hello from Kubernetes") }
            jsonPath("$.host") { isNotEmpty() }
            jsonPath("$.version") { value("1.0.0") }
        }
    }

    @Test
    fun `tells Kubernetes that it is alive and ready`() {
        for (probe in listOf("liveness", "readiness")) {
            http.get("/actuator/health/$probe").andExpect {
                status { isOk() }
                jsonPath("$.status") { value("UP") }
            }
        }
    }
}
