package com.example.greeting

import org.springframework.boot.info.BuildProperties
import org.springframework.web.bind.annotation.GetMapping
import org.springframework.web.bind.annotation.RestController
import java.net.InetAddress

/** Who answered: in a cluster the host name is the pod's, so reloading shows the replicas taking turns. */
data class Greeting(val message: String, val host: String, val version: String?)

@RestController
class GreetingController(private val build: BuildProperties) {
    private val host = System.getenv("HOSTNAME") ?: InetAddress.getLocalHost().hostName

    @GetMapping("/")
    fun greet() = Greeting(message = "Hello from Kubernetes", host = host, version = build.version)
}
